"""Bits for each token of every model on every task, beside what needs no network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, models_by, one_value, status
from lra.results.baselines import BaselineRow
from lra.results.records import ScoreRow, in_bits, read_table
from lra.stats.summary import summary

GROUPS = {
    "next": "next: each token from those before it, exact",
    "masked": "masked: hidden tokens from all others, an upper bound",
}
FLOORS = "without a network"


def language(scores: Path, baselines: Path) -> tuple[Table, list[dict]]:
    """The test losses of scores.parquet in bits, by task and model, and the floors of
    baselines.parquet.

    A mean counts only where every seed is ok. Raises LRAError where experiments are mixed.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment", "protocol")
    floors = read_table(baselines, BaselineRow).to_pylist()
    cells = grouped(rows, "objective", "task", "model").values()
    lines = [_line(own) for own in cells] + [_floor(row) for row in floors]
    return _table(lines, rows), lines


def _line(rows: list[dict]) -> dict:
    line = {key: rows[0][key] for key in ("experiment", "task", "model", "objective", "params")}
    line |= {"status": status(rows), "n_ok": sum(r["status"] == "ok" for r in rows)}
    line |= {"n_seeds": len(rows)} | dict.fromkeys(("bits", "std", "accuracy", "seconds"))
    if line["n_ok"] == len(rows):
        bits = summary([in_bits(row["loss"]) for row in rows])
        line |= {"bits": bits.mean, "std": bits.std}
        line |= {"accuracy": summary([row["accuracy"] for row in rows]).mean}
        line |= {"seconds": summary([row["train_seconds"] for row in rows]).mean}
    return line


def _floor(row: dict) -> dict:
    line = {key: row[key] for key in ("experiment", "task", "status", "bits", "accuracy")}
    line |= {"model": row["kind"], "objective": "", "params": None, "std": None}
    return line | {"n_ok": None, "n_seeds": None, "seconds": row["seconds"]}


def _table(lines: list[dict], rows: list[dict]) -> Table:
    tasks = distinct(rows, "task")
    table = []
    for objective, heading in (GROUPS | {"": FLOORS}).items():
        own = [line for line in lines if line["objective"] == objective]
        best = {
            task: min((x["bits"] for x in own if x["task"] == task and x["bits"]), default=None)
            for task in tasks
        }
        models = models_by("task", own, distinct(own, "model"), partial(_entry, best=best), tasks)
        table += [Row(row.name, row.entries, heading) for row in models]
    seeds = distinct(rows, "seed")
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {rows[0]['protocol']}, "
        f"{'mean over seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}. Bits for each token "
        "of the test windows that is to be predicted; below, the share of predictions that are "
        "right. Best of each group in bold."
    )
    return Table(caption, tasks, table, _notes(lines))


def _entry(line: dict, best: dict[str, float | None]) -> Entry:
    if line["bits"] is None:
        return Entry(line["status"])
    text = f"{line['bits']:.3f}" + (f" ± {line['std']:.3f}" if line["std"] is not None else "")
    right = "" if line["accuracy"] is None else f"{line['accuracy']:.1f} %"
    marked = line["objective"] and line["bits"] == best[line["task"]]
    return Entry(text, right, "best" if marked else "")


def _notes(lines: list[dict]) -> list[str]:
    notes = ["The first token of a window is predicted from nothing under next, too."]
    if any(line["objective"] == "masked" for line in lines):
        notes.append(
            "Accuracies of the two objectives do not compare: masked predicts with few and with "
            "most tokens hidden, in equal shares."
        )
    if any(line["model"] == "xz" for line in lines):
        notes.append(
            "gzip and xz pack all test windows in one piece, so that they see all bytes before; "
            "a model sees its window alone."
        )
    if any(line["model"] == "a value of the context" for line in lines):
        notes.append("A value of the context: a guess among the values of the example's pairs.")
    if any(line["n_seeds"] and line["n_ok"] < line["n_seeds"] for line in lines):
        notes.append("No mean where a seed is not ok.")
    return notes
