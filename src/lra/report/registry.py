"""Every table and figure. To add one, write its module and add a line here.

Planning reads this, so it imports nothing heavy.
"""

from __future__ import annotations

from lra.core.errors import one_of
from lra.report.item import PARQUET, Item

TABLES = [
    Item("tasks", "What was trained", "tables.tasks", ("scores", "cells", "data")),
    Item("accuracy", "Accuracy", "tables.accuracy", ("scores", "reference", "baselines")),
    Item("baselines", "Without a network", "tables.baselines", ("baselines",)),
    Item("significance", "Differences in accuracy", "tables.significance", ("scores", "cells")),
    Item("overfitting", "Train and test accuracy", "tables.overfitting", ("scores", "history")),
    Item("efficiency", "Speed and memory", "tables.efficiency", ("speed", "memory", "efficiency")),
    Item("costs", "What a step costs", "tables.efficiency", ("speed", "memory", "efficiency")),
    Item("training", "Cost of training", "tables.training", ("scores",)),
    Item("span", "Required attention span", "tables.span", ("span", "scores")),
    Item("reach", "Required span by intervention", "tables.reach", ("scores", "span", "cells")),
    Item("rates", "Learning rates", "tables.rates", ("scores", "cells")),
    Item("rank_agreement", "Ranks beside the published", "tables.agreement",
         ("scores", "reference")),
    Item("neighbours", "Seeds to separate neighbours", "tables.neighbours", ("scores",)),
    Item("shortcomings", "Shortcomings by family", "tables.shortcomings",
         ("scores", "speed", "memory")),
]  # fmt: skip
FIGURES = [
    Item("scores", "Accuracy (heat map)", "figures.scores", ("scores",)),
    Item("performance", "Accuracy against speed", "figures.performance",
         ("scores", "speed", "memory")),
    Item("speed", "Training speed by length", "figures.efficiency", ("speed",)),
    Item("memory", "Training memory by length", "figures.efficiency", ("memory",)),
    Item("learning_curves", "Learning curves", "figures.learning_curves", ("history", "scores")),
    Item("span", "Attention span by task", "figures.span", ("span", "scores")),
    Item("reach", "Accuracy by how far a token sees", "figures.reach", ("scores",)),
    Item("rates", "Accuracy by learning rate", "figures.rates", ("scores", "cells")),
    Item("difference", "Difference to the published", "figures.difference",
         ("scores", "reference")),
    Item("ranks", "Critical difference (ranks)", "figures.ranks", ("scores",)),
    Item("energy", "Accuracy against energy", "figures.energy", ("scores",)),
]  # fmt: skip
# of experiments whose cells predict tokens
TOKEN_TABLES = [
    Item("language", "Bits for each token", "tables.language", ("scores", "baselines")),
    Item("recall", "Right answers by how much is asked", "tables.recall",
         ("scores", "parts", "baselines", "cells")),
    Item("order", "Generation by sampler", "tables.order", ("generate", "scores")),
    *(item for item in TABLES if item.name in ("training", "efficiency", "costs")),
]  # fmt: skip
TOKEN_FIGURES = [
    Item("bits", "Bits by position", "figures.bits", ("parts", "scores", "baselines")),
    Item("recall", "Right answers by size of the state", "figures.recall", ("scores",)),
    Item("solve_rate", "Solve rate by cost", "figures.solve_rate", ("generate", "scores")),
    *(item for item in FIGURES if item.name in ("speed", "memory")),
]
# of experiments with a section `decode`, beside the others
DECODE_TABLES = [Item("decoding", "Token by token", "tables.decoding", ("decode", "directions"))]
DECODE_FIGURES = [Item("decoding", "Decoding by context", "figures.decoding", ("decode",))]


def collected(tokens: bool, decode: bool = False) -> list[str]:
    """Which of PARQUET an experiment has; for its kinds see `shown`."""
    none = {"span"} if tokens else {"parts", "generate"}
    none |= set() if decode else {"decode", "directions"}
    return [what for what in PARQUET if what not in none]


def shown(tokens: bool, decode: bool = False) -> tuple[list[Item], list[Item]]:
    """Tables and figures of an experiment.

    tokens: its cells predict tokens and no labels. decode: it has a section of that name.
    """
    tables, figures = (TOKEN_TABLES, TOKEN_FIGURES) if tokens else (TABLES, FIGURES)
    return (tables + DECODE_TABLES, figures + DECODE_FIGURES) if decode else (tables, figures)


def table(name: str) -> Item:
    """The table of this name; raises LRAError naming the nearest where there is none."""
    return _find("lra tables", name, TABLES + TOKEN_TABLES + DECODE_TABLES)


def figure(name: str) -> Item:
    """The figure of this name; raises LRAError naming the nearest where there is none."""
    return _find("lra figure", name, FIGURES + TOKEN_FIGURES + DECODE_FIGURES)


def _find(where: str, name: str, items: list[Item]) -> Item:
    known = {item.name: item for item in items}
    return known[one_of(where, name, known)]
