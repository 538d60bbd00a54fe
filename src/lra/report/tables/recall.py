"""Right answers by how much is asked, beside the size of each model's state: of the tasks that ask
for some of their tokens alone."""

from __future__ import annotations

from pathlib import Path

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.asked import WHAT, asking, what
from lra.report.tables import rates
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import one_value, status
from lra.results.baselines import BaselineRow
from lra.results.rates import Sweep, chosen, learning_rate, read_of, sweeps
from lra.results.records import PartRow, ScoreRow, read_table
from lra.stats.summary import summary

NO_RECALL = "No task asks for some of its tokens alone."
MEANS = ("accuracy", "exact_match", "lowest", "highest")
MOST = 8  # columns of how much is asked; of more each task has its ends alone


def recall(scores: Path, parts: Path, baselines: Path, cells: Path) -> tuple[Table, list[dict]]:
    """One row a model, objective and task, at the learning rate that its sweep chose.

    cells: the experiment's folder, whose configurations say the learning rates. A mean counts only
    where every seed is ok. Raises LRAError where experiments are mixed.
    """
    every = asking(read_table(scores, ScoreRow).to_pylist())
    if not every:
        return Table(NO_RECALL, [], [], []), []
    one_value(scores, every, "experiment", "protocol")
    rows, found = chosen(every), sweeps(every)
    of_labels = (r for r in read_of(parts, PartRow, rows) if r["by"] == "label")
    by_label = {
        key: {first: summary([r["accuracy"] for r in own]).mean for (first,), own in groups.items()}
        for key, of in grouped(of_labels, "task", "model").items()
        for groups in [grouped(of, "first")]
    }
    swept = {(each.task, each.model): each for each in found}
    lines = [
        _line(own, swept.get(key), by_label.get(key, {}), cells)
        for key, own in grouped(rows, "task", "model").items()
    ]
    lines.sort(key=lambda line: (line["task"], line["objective"] == "masked"))
    floors = [
        row
        for row in read_table(baselines, BaselineRow).to_pylist()
        if row["task"] in distinct(rows, "task") and row["accuracy"] is not None
    ]
    return _table(lines, rows, floors, found), lines


def _line(rows: list[dict], sweep: Sweep | None, by_label: dict[int, float], root: Path) -> dict:
    """One model: means over its seeds."""
    names = ("experiment", "task", "objective", "mechanism", "model", "state_bytes")
    line = {key: rows[0][key] for key in names}
    line |= {"rate": learning_rate(root, rows[0] | {"model": rows[0]["trained"]})}
    line |= {"status": status(rows)} | dict.fromkeys(MEANS)
    at = {} if sweep is None else sweep.at
    means = {} if sweep is None else sweep.mean("accuracy")
    tried = (
        f"{learning_rate(root, own[0]):g}: "
        + (f"{means[factor]:.1f}" if factor in means else status(own))
        for factor, own in at.items()
    )
    line |= {"n_rates": max(len(at), 1), "tried": listed(tried)}
    if line["status"] == "ok":
        line |= {"accuracy": summary([row["accuracy"] for row in rows]).mean}
        if rows[0]["exact_match"] is not None:
            line |= {"exact_match": summary([row["exact_match"] for row in rows]).mean}
        values = [*means.values()] or [line["accuracy"]]
        line |= {"lowest": min(values), "highest": max(values)}
        line |= {f"{what(rows[0])}_{label}": value for label, value in by_label.items()}
    return line


def _table(lines: list[dict], rows: list[dict], floors: list[dict], found: list[Sweep]) -> Table:
    of_labels = {key for line in lines for key in line if key.rpartition("_")[0] in WHAT.values()}
    columns = sorted(of_labels, key=_order)
    for line in lines:  # of a csv, where every line has the same columns in one order
        line |= {column: line.pop(column, None) for column in columns}
    several, few = len(distinct(rows, "task")) > 1, len(columns) <= MOST
    at = {line["task"]: columns if few else _ends(line["task"], lines, columns) for line in lines}
    asked = [_words(column) for column in columns] if few else ["least", "most"]
    table = [
        Row(
            line["model"],
            [
                Entry(_percent(line["accuracy"]) or line["status"], line["tried"]),
                Entry(_percent(line["exact_match"]) or "-"),
                Entry(f"{line['rate']:g}"),
                Entry("-" if line["state_bytes"] is None else f"{line['state_bytes']:,}"),
                *(Entry(_percent(line.get(column)) or "-") for column in at[line["task"]]),
            ],
            line["objective"]
            + (f", {line['task']}" if several else "")
            + ("" if few else _range(*at[line["task"]])),
        )
        for line in lines
    ]
    table += [
        Row(
            row["kind"],
            [Entry(_percent(row["accuracy"])), *[Entry("-")] * (3 + len(asked))],
            "without a network" + (f", {row['task']}" if several else ""),
        )
        for row in floors
    ]
    seeds = distinct(rows, "seed")
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {rows[0]['protocol']}, "
        f"{'mean over seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}. Percent of the asked "
        "tokens that are right on the test split, in all and by how much is asked, at the "
        "learning rate with the lowest validation loss; below, each rate that was tried. State: "
        "bytes that a model keeps of one whole sequence, all layers together."
    )
    notes = ["One rate alone would compare how mechanisms were tuned (arXiv:2508.19029)."]
    if any(line["exact_match"] is not None for line in lines):
        notes.append(
            "Whole: percent of examples whose answers are all right, which is the exact-match rate "
            "of greedy decoding."
        )
    if any(line["objective"] == "masked" for line in lines):
        notes.append("Under masked it depends on the sampler: see table `order`.")
    if any(line["n_rates"] == 1 for line in lines):
        notes.append("Some have one rate alone: their values are no best of several.")
    if any(line["state_bytes"] is None and line["status"] == "ok" for line in lines):
        notes.append("No state: the model is not causal, or has no form by steps.")
    if not few:
        notes.append("Least and most that is asked: as each heading says; the csv has all.")
    return Table(
        caption, ["all", "whole", "rate", "state", *asked], table, notes + rates.notes(found)
    )


def _ends(task: str, lines: list[dict], columns: list[str]) -> list[str]:
    """The columns of the least and the most that a task asks; empty names where no model is ok."""
    own = [line for line in lines if line["task"] == task]
    known = [column for column in columns if any(line[column] is not None for line in own)]
    return [known[0], known[-1]] if known else ["", ""]


def _range(least: str, most: str) -> str:
    return f", {least.rpartition('_')[2]} to {_words(most)}" if least else ""


def _words(column: str) -> str:
    return " ".join(column.split("_")[::-1])


def _order(column: str) -> tuple[int, int]:
    counted, _, label = column.rpartition("_")
    return list(WHAT.values()).index(counted), int(label)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
