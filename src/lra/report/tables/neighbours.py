"""How many seeds would separate mechanisms that are neighbours in the ranking."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from lra.core.formats import listed, signed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value
from lra.report.variants import counted_once
from lra.results.rates import read_chosen
from lra.stats.seeds_needed import LEVEL, MOST, POWER, seeds_needed, typical_std
from lra.stats.summary import outcomes, seed_means, summary, unlearned

TOO_FEW = (
    "Fewer than two mechanisms have two seeds of every task, or no task was learned: how many "
    "seeds would separate them is not known."
)


def neighbours(scores: Path) -> tuple[Table, list[dict]]:
    """One row a mechanism that has every seed of every learned task, the best first.

    Raises LRAError where experiments are mixed.
    """
    rows = counted_once(read_chosen(scores))
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    grey = unlearned(outcomes(rows))
    tasks = [task for task in distinct(rows, "task") if task not in grey]
    by_seed = {model: seed_means(own, tasks) for (model,), own in grouped(rows, "model").items()}
    means = {model: summary(values) for model, values in by_seed.items() if values}
    seeds = min((each.n for each in means.values()), default=0)
    if len(means) < 2 or seeds < 2:
        return Table(TOO_FEW, [], [], []), []
    std = typical_std([each.std for each in means.values()], seeds)
    ranked = sorted(means, key=lambda model: means[model].mean, reverse=True)
    lines = [{"model": model, "mean": means[model].mean} for model in ranked]
    for line, next_one in pairwise(lines):
        above = line["mean"] - next_one["mean"]
        line |= {"above_next": above, "seeds": seeds_needed(above, std)}
    caption = (
        f"Experiment {rows[0]['experiment']}: mechanisms by their mean accuracy over "
        f"{listed(tasks)}, and how many seeds of each would tell it from the next one: until a "
        f"two-sided t test at {100 * LEVEL:g} % finds a difference of this size in "
        f"{100 * POWER:g} % of experiments."
    )
    notes = [
        f"A seed's mean over the tasks varies by {std:.2g} points (standard deviation of the "
        f"median mechanism, from {seeds} seeds of each of {len(means)}).",
        "The difference is taken as measured. It is itself known from these few seeds.",
    ]
    table = [Row(line["model"], _entries(line)) for line in lines]
    columns = ["mean accuracy\n%", "above the next\npoints", "seeds to\nseparate them"]
    return Table(caption, columns, table, notes), lines


def _entries(line: dict) -> list[Entry]:
    mean = Entry(f"{line['mean']:.1f}")
    if "seeds" not in line:
        return [mean, Entry(""), Entry("")]
    seeds = f"over {MOST:,}" if line["seeds"] is None else f"{line['seeds']:,}"
    return [mean, Entry(signed(line["above_next"])), Entry(seeds)]
