"""Bits for each token of every model on every task, beside what needs no network."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.asked import what
from lra.report.notes import not_read_so_long
from lra.report.tables import rates
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, models_by, one_value, status
from lra.results.baselines import BaselineRow
from lra.results.rates import chosen, sweeps
from lra.results.records import ScoreRow, in_bits, read_table
from lra.stats.summary import summary

GROUPS = {
    "next": "next: each token from those before it, exact",
    "masked": "masked: hidden tokens from all others, an upper bound",
}
FLOORS = "without a network"
LONG = "16 times as long"  # windows (lra.evaluation.long_windows)


def language(scores: Path, baselines: Path) -> tuple[Table, list[dict]]:
    """The test losses of scores.parquet in bits, by task and model, and the floors of
    baselines.parquet.

    A mean counts only where every seed is ok. Raises LRAError where experiments are mixed.
    """
    every = read_table(scores, ScoreRow).to_pylist()
    if not every:
        return NOTHING
    rows = chosen(every)
    one_value(scores, rows, "experiment", "protocol")
    floors = read_table(baselines, BaselineRow).to_pylist()
    cells = grouped(rows, "objective", "task", "model").values()
    lines = [_line(own) for own in cells] + [_floor(row) for row in floors]
    return _table(lines, rows, rates.notes(sweeps(every))), lines


def _line(rows: list[dict]) -> dict:
    line = {key: rows[0][key] for key in ("experiment", "task", "model", "objective", "params")}
    line |= {"status": status(rows), "n_ok": sum(r["status"] == "ok" for r in rows)}
    line |= {"n_seeds": len(rows)} | dict.fromkeys(("bits", "std", "accuracy", "seconds"))
    if line["n_ok"] == len(rows):
        bits = summary([in_bits(row["loss"]) for row in rows])
        line |= {"bits": bits.mean, "std": bits.std}
        line |= {"accuracy": summary([row["accuracy"] for row in rows]).mean}
        line |= {"seconds": summary([row["train_seconds"] for row in rows]).mean}
    line |= {"long_bits": None, "long_std": None, "long_reason": rows[0]["long_reason"]}
    if line["n_ok"] == len(rows) and all(row["long_loss"] is not None for row in rows):
        bits = summary([in_bits(row["long_loss"]) for row in rows])
        line |= {"long_bits": bits.mean, "long_std": bits.std}
    return line


def _floor(row: dict) -> dict:
    line = {key: row[key] for key in ("experiment", "task", "status", "bits", "accuracy")}
    line |= {"model": row["kind"], "objective": "", "params": None, "std": None}
    line |= {"n_ok": None, "n_seeds": None, "seconds": row["seconds"]}
    return line | dict.fromkeys(("long_bits", "long_std", "long_reason"))


def _table(lines: list[dict], rows: list[dict], of_rates: list[str]) -> Table:
    tasks = distinct(rows, "task")
    at_length = {task: [task] for task in tasks}
    for line in lines:
        if line["long_bits"] is not None or line["long_reason"]:
            at_length[line["task"]] = [line["task"], f"{line['task']}\n{LONG}"]
    columns = [column for own in at_length.values() for column in own]
    values = [{**line, "column": line["task"]} for line in lines]
    values += [
        {
            **line,
            "column": long,
            "bits": line["long_bits"],
            "std": line["long_std"],
            "accuracy": None,
        }
        for line in lines
        for long in at_length[line["task"]][1:]
    ]
    table = []
    for objective, heading in (GROUPS | {"": FLOORS}).items():
        own = [line for line in values if line["objective"] == objective]
        best = {
            name: min((x["bits"] for x in own if x["column"] == name and x["bits"]), default=None)
            for name in columns
        }
        entry = partial(_entry, best=best)
        models = models_by("column", own, distinct(own, "model"), entry, columns)
        table += [Row(row.name, row.entries, heading) for row in models]
    seeds = distinct(rows, "seed")
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {rows[0]['protocol']}, "
        f"{'mean over seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}. Bits for each token "
        "of the test windows that is to be predicted; below, the share of predictions that are "
        "right. Best of each group in bold."
    )
    return Table(caption, columns, table, _notes(lines, rows) + of_rates)


def _entry(line: dict, best: dict[str, float | None]) -> Entry:
    if line["bits"] is None:
        return Entry("-" if line["status"] == "ok" else line["status"])
    text = f"{line['bits']:.3f}" + (f" ± {line['std']:.3f}" if line["std"] is not None else "")
    right = "" if line["accuracy"] is None else f"{line['accuracy']:.1f} %"
    marked = line["objective"] and line["bits"] == best[line["column"]]
    return Entry(text, right, "best" if marked else "")


def _notes(lines: list[dict], rows: list[dict]) -> list[str]:
    notes = []
    if any(row["objective"] == "next" and not what(row) for row in rows):
        notes.append("The first token of a window is predicted from nothing under next, too.")
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
    if any(line["long_bits"] is not None for line in lines):
        notes.append(
            "16 times as long: the same test bytes, in windows most of whose positions no training "
            "had."
        )
    notes += not_read_so_long(lines)
    if any(line["model"] == "the text's own model" for line in lines):
        notes.append("The text's own model is exact: none is below it but by chance.")
    if any(line["n_seeds"] and line["n_ok"] < line["n_seeds"] for line in lines):
        notes.append("No mean where a seed is not ok.")
    return notes
