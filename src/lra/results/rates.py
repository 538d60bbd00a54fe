"""Which learning rate of a sweep (`rates:` of an experiment) a model has on a task.

It is chosen here, by validation alone: accuracy, or the loss of tokens. Tables and figures read the
scores of the chosen cells, under their models' own names; `rates` and `recall` show the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lra.config.cell import Cell, read
from lra.config.rates import unswept
from lra.core.schema import Strict
from lra.results import layout
from lra.results.records import ScoreRow, read_table

WINDOW = 1.0  # points of validation accuracy: a rate works where it is so near to the best
NO_SWEEP = "Every model was trained at one learning rate: the experiment has no `rates`."


@dataclass(frozen=True)
class Sweep:
    """One model on one task at several learning rates."""

    task: str
    model: str
    at: dict[float, list[dict]]  # factor of the model's own rate, ascending -> rows, one a seed

    def mean(self, column: str) -> dict[float, float]:
        """Of scores.parquet, by factor, of those at which every seed is ok."""
        return {
            factor: fmean(row[column] for row in rows)
            for factor, rows in self.at.items()
            if all(row["status"] == "ok" for row in rows)
        }

    @property
    def validation(self) -> dict[float, float]:
        """Mean accuracy in percent by factor."""
        return self.mean("val_accuracy")

    @property
    def quality(self) -> dict[float, float]:
        """What is chosen by, higher is better: `validation`, or minus the mean loss of tokens."""
        if not any(row.get("objective") for rows in self.at.values() for row in rows):
            return self.validation
        return {factor: -loss for factor, loss in self.mean("val_loss").items()}

    @property
    def held_out(self) -> bool:
        """Whether validation is not the test set, by which nothing may be chosen."""
        return all(row["validation"] == "held out" for rows in self.at.values() for row in rows)

    @property
    def best(self) -> float | None:
        """The factor of the best mean, of equal ones the nearest to 1; None where none may be."""
        known = self.quality
        if not known or not self.held_out:
            return None
        return max(known, key=lambda factor: (known[factor], -abs(math.log(factor))))

    @property
    def at_edge(self) -> bool:
        """Whether the best is the lowest or highest factor, so that a better may lie beyond."""
        return self.best in (min(self.at), max(self.at))

    @property
    def working(self) -> list[float]:
        """The factors within WINDOW of the best mean."""
        known = self.validation
        return [factor for factor, mean in known.items() if mean >= max(known.values()) - WINDOW]


def sweeps(rows: Iterable[dict]) -> list[Sweep]:
    """Of the rows of scores.parquet, every (task, model) with more than one rate."""
    found: dict[tuple[str, str], dict[float, list[dict]]] = {}
    for row in rows:
        model, factor = unswept(row["model"])
        found.setdefault((row["task"], model), {}).setdefault(factor, []).append(row)
    return [Sweep(*key, dict(sorted(at.items()))) for key, at in found.items() if len(at) > 1]


def chosen(rows: Iterable[dict]) -> list[dict]:
    """Of the rows of scores.parquet those at each sweep's best rate, else at the model's own.

    `model` is the experiment's, and `trained` the cell's.
    """
    rows = list(rows)
    factors = {(each.task, each.model): each.best or 1.0 for each in sweeps(rows)}
    found = []
    for row in rows:
        model, factor = unswept(row["model"])
        if factor == factors.get((row["task"], model), factor):
            found.append(row | {"model": model, "trained": row["model"]})
    return found


def read_chosen(scores: Path) -> list[dict]:
    """The `chosen` rows of scores.parquet."""
    return chosen(read_table(scores, ScoreRow).to_pylist())


def read_of(path: Path, kind: type[Strict], cells: Iterable[dict]) -> list[dict]:
    """The rows of history, span or parts.parquet that are of `chosen` cells, by their models."""
    models = {(cell["task"], cell["trained"], cell["seed"]): cell["model"] for cell in cells}
    return [
        row | {"model": models[key]}
        for row in read_table(path, kind).to_pylist()
        if (key := (row["task"], row["model"], row["seed"])) in models
    ]


def cell_file(root: Path, pattern: str, row: dict) -> Path:
    """A file, by a pattern of layout.py, of the cell of a `chosen` row of the experiment `root`."""
    return root / pattern.format(**row | {"model": row["trained"]})


def learning_rate(root: Path, row: dict) -> float:
    """Of the cell of a row of scores.parquet. Raises LRAError where it has no configuration."""
    path = root / layout.CONFIG.format(**row)
    return read(Cell, str(path)).training.learning_rate
