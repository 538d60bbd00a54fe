"""How the ranking of mechanisms compares with the published one, task by task."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from lra.core.formats import listed, signed
from lra.core.unique import distinct
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value
from lra.report.variants import with_best
from lra.results.rates import read_chosen
from lra.stats import published
from lra.stats.agreement import FEWEST, LEVEL, agreement
from lra.stats.published import MATERIALISED
from lra.stats.summary import outcomes, unlearned

TOO_FEW = (
    f"Fewer than {FEWEST} mechanisms that have a published accuracy were trained to the end on one "
    "task: rankings are not compared."
)
Values = dict[str, dict[str, float]]  # accuracy in percent by task and mechanism


def rank_agreement(scores: Path, reference: Path) -> tuple[Table, list[dict]]:
    """One row a task of the paper's average, and one of the mean over them.

    A task that has variants only counts by each model's best one, as in the table of accuracies.
    reference: csv of published accuracies. Raises LRAError where experiments are mixed.
    """
    rows, _ = with_best(read_chosen(scores))
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    ours, theirs = of_both(rows, published.scores(reference))
    found = {task: agreement(ours[task], theirs[task]) for task in ours}
    if len(found) > 1:
        found["mean"] = agreement(*map(_mean, (ours, theirs)))
    lines = [
        {
            "experiment": rows[0]["experiment"],
            "task": task,
            "n": len(each.models),
            "rho": each.rho,
            "low": each.low,
            "high": each.high,
            "mechanisms": " ".join(each.models),
        }
        for task, each in found.items()
        if each
    ]
    if not lines:
        return Table(TOO_FEW, [], [], []), []
    return _table(lines, rows, published.whose(reference)), lines


def of_both(rows: list[dict], lines: dict[str, published.Line]) -> tuple[Values, Values]:
    """Ours and the published, of the tasks that some mechanism learned and with every seed ok.

    What is at chance counts as measured.
    """
    cells, ours, theirs = outcomes(rows), {}, {}
    grey = unlearned(cells)
    for task in distinct(rows, "task"):
        if task in grey or task not in published.AVERAGED:
            continue
        known = {m: published.value(x, task) for m, x in lines.items() if m != MATERIALISED}
        theirs[task] = {m: v for m, v in known.items() if isinstance(v, float)}
        ours[task] = {
            m: cells[m, task].accuracy.mean
            for m in theirs[task]
            if (m, task) in cells and cells[m, task].finished
        }
    return ours, theirs


def _mean(values: Values) -> dict[str, float]:
    """Over the tasks, of the mechanisms that have all of them."""
    models = set.intersection(*map(set, values.values()))
    return {
        m: fmean(of[m] for of in values.values())
        for m in next(iter(values.values()))
        if m in models
    }


def _table(lines: list[dict], rows: list[dict], whose: str) -> Table:
    """whose: published accuracy, in words."""
    caption = (
        f"Experiment {rows[0]['experiment']}: Spearman's correlation of the ranks that mechanisms "
        "have here by test accuracy with the published ones; 1 is the same order, 0 none in "
        f"common, −1 the opposite. Published: {whose}. In brackets the {LEVEL:g} % interval over "
        "mechanisms (Bonett and Wright 2000)."
    )
    notes = [f"Mechanisms: {lines[0]['mechanisms'].replace(' ', ', ')}."]
    if own := published.own_variants(rows):
        notes.append(f"Other data than the published: {listed(sorted(own))}.")
    notes.append("Ranks of both sides are of means over few seeds, whose own error is not in it.")
    table = [Row(line["task"], _entries(line)) for line in lines]
    return Table(caption, ["mechanisms", "correlation"], table, notes, "task")


def _entries(line: dict) -> list[Entry]:
    ends = [signed(line[end]) for end in ("low", "high") if line[end] is not None]
    interval = f"[{', '.join(ends)}]" if ends else ""
    return [Entry(str(line["n"])), Entry(signed(line["rho"]), interval)]
