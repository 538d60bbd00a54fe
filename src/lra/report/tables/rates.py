"""Accuracy by learning rate, and the rate that each model has in all other tables and figures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lra.core.formats import decimals, listed
from lra.core.unique import distinct, grouped, unique
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value, status
from lra.results.rates import NO_SWEEP, WINDOW, Sweep, learning_rate, sweeps
from lra.results.records import ScoreRow, read_table
from lra.stats.summary import summary


def rates(scores: Path, cells: Path) -> tuple[Table, list[dict]]:
    """Validation and test accuracy of each (task, model) at each rate of an experiment's sweep.

    cells: the experiment's folder, whose configurations say the rates. A mean counts only where
    every seed is ok. Raises LRAError where experiments are mixed.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    found = sweeps(rows)
    if not found:
        return Table(NO_SWEEP, [], [], []), []
    lines = [line for each in found for line in _lines(each, cells)]
    return _table(lines, found, rows), lines


def notes(found: list[Sweep]) -> list[str]:
    """What the table of accuracies says of the choice, too; nothing where there is no sweep."""
    if not found:
        return []
    factors = sorted({factor for each in found for factor in each.at})
    chosen = [each for each in found if each.best is not None]
    said = []
    if chosen:
        said.append(
            f"Learning rate: of {listed(map(_times, factors))} the model's own, the best mean over "
            f"seeds on validation: {_by_factor(chosen)}."
        )
    if edge := [each for each in chosen if each.at_edge]:
        said.append(f"At the edge of the sweep, sweep further: {_by_factor(edge)}.")
    if lost := [
        f"{each.model} on {each.task} at {_times(factor)} ({status(rows)})"
        for each in found
        for factor, rows in each.at.items()
        if factor not in each.validation
    ]:
        said.append(f"Not every seed ok, so out of the choice: {listed(lost)}.")
    for why, own in (
        ("validation is the test set", [each for each in found if not each.held_out]),
        ("no rate is ok", [each for each in found if each.held_out and not each.validation]),
    ):
        if own:
            said.append(f"The model's own learning rate, as {why}: {_by_task(own)}.")
    return said


def _by_factor(found: Iterable[Sweep]) -> str:
    of = grouped(({"best": each.best, "sweep": each} for each in found), "best")
    return "; ".join(
        f"{_times(factor)} {_by_task(line['sweep'] for line in of[factor,])}"
        for (factor,) in sorted(of)
    )


def _by_task(found: Iterable[Sweep]) -> str:
    of = grouped(({"task": each.task, "model": each.model} for each in found), "task")
    return ", ".join(f"{task} ({listed(distinct(own, 'model'))})" for (task,), own in of.items())


def _times(factor: float) -> str:
    return f"×{factor:g}"


def _lines(sweep: Sweep, root: Path) -> list[dict]:
    lines = []
    for factor, rows in sweep.at.items():
        line = {"experiment": rows[0]["experiment"], "task": sweep.task, "model": sweep.model}
        line |= {"factor": factor, "learning_rate": learning_rate(root, rows[0])}
        line |= {"status": status(rows)}
        for name, column in (("validation", "val_accuracy"), ("test", "accuracy")):
            known = factor in sweep.validation
            over = summary([row[column] for row in rows]) if known else None
            line |= {name: over and over.mean, f"{name}_std": over and over.std}
        line |= {"works": factor in sweep.working, "chosen": factor == sweep.best}
        line |= {"edge": factor == sweep.best and sweep.at_edge}
        n_ok = sum(row["status"] == "ok" for row in rows)
        lines.append(line | {"n_ok": n_ok, "n_seeds": len(rows), "n_test": rows[0]["n_test"]})
    return lines


def _table(lines: list[dict], found: list[Sweep], rows: list[dict]) -> Table:
    factors = sorted(distinct(lines, "factor"))
    columns = []
    for factor in factors:
        own = unique(line["learning_rate"] for line in lines if line["factor"] == factor)
        columns.append(_times(factor) + (f"\n{own[0]:g}" if len(own) == 1 else ""))
    seeds = distinct(rows, "seed")
    over = f"mean over seeds {listed(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]} only"
    caption = (
        f"Experiment {lines[0]['experiment']}, protocol {listed(distinct(rows, 'protocol'))}. "
        f"Validation accuracy in percent by learning rate, as a factor of the model's own, {over}; "
        "below, test accuracy. Bold: chosen, by validation alone; all other tables and figures are "
        f"of these trainings. Works: the rates within {WINDOW:g} point of the best on validation."
    )
    table = []
    for (task, model), own in grouped(lines, "task", "model").items():
        at = {line["factor"]: line for line in own}
        entries = [_entry(at[factor]) if factor in at else Entry("-") for factor in factors]
        table.append(Row(model, [*entries, *_result(own)], task))
    return Table(caption, [*columns, "chosen", "works"], table, notes(found))


def _entry(line: dict) -> Entry:
    if line["validation"] is None:
        return Entry(line["status"])
    test = f"test {line['test']:.{decimals(line['n_test'])}f}"
    return Entry(f"{line['validation']:.1f}", test, "best" if line["chosen"] else "")


def _result(lines: list[dict]) -> list[Entry]:
    """The chosen rate, and those that work."""
    best = [line for line in lines if line["chosen"]]
    works = listed(f"{line['learning_rate']:g}" for line in lines if line["works"])
    text = f"{best[0]['learning_rate']:g}" if best else "-"
    return [Entry(text, "edge" if best and best[0]["edge"] else ""), Entry(works or "-")]
