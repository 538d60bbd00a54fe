"""What the tasks give away without a network, and what the models reach above simple mixing."""

from __future__ import annotations

from pathlib import Path

from lra.core.formats import SECONDS, decimals, fitting_unit, listed, number, signed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value
from lra.results.baselines import BaselineRow
from lra.results.records import read_table

MIXING = ("conv", "mean", "identity")  # mechanisms that are baselines, in the order of the notes
WHAT = {
    "majority class": "the most frequent label of train",
    "root operator": "the most frequent label of train given the first token",
    "byte n-grams": "logistic regression on 1- to 3-grams; of documents u, v: u + v, |u - v|, u v",
    "pixels": "logistic regression on standardised pixels",
}


def baselines(path: Path) -> tuple[Table, list[dict]]:
    """The accuracies of baselines.parquet, one row a baseline and one column a task.

    Raises LRAError where experiments are mixed.
    """
    rows = read_table(path, BaselineRow).to_pylist()
    if not rows:
        return NOTHING
    one_value(path, rows, "experiment", "protocol")
    kinds, tasks = distinct(rows, "kind"), distinct(rows, "task")
    at = {(row["kind"], row["task"]): row for row in rows}
    table = [Row(kind, [_entry(at.get((kind, task))) for task in tasks]) for kind in kinds]
    chance = listed({row["task"]: f"{row['task']} {row['chance']:.1f} %" for row in rows}.values())
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {rows[0]['protocol']}; test accuracy in "
        f"percent of what needs no network, on the models' splits. Chance: {chance}."
    )
    notes = [f"{kind}: {WHAT[kind]}." for kind in kinds if kind in WHAT]
    if any(row["penalty"] is not None for row in rows):
        notes.append(
            "The penalty was chosen on the validation split, or on a tenth of train where that is "
            "the test set."
        )
    some = [row for row in rows if row["status"] == "ok" and row["n_train"] < row["n_train_split"]]
    notes += [
        f"{row['task']}, {row['kind']}: learned from {row['n_train']:,} of "
        f"{row['n_train_split']:,} training examples."
        for row in some
    ]
    longest = max((row["seconds"] or 0 for row in rows), default=0)
    unit, second = fitting_unit([longest], SECONDS)
    notes.append(f"The longest took {number(longest, second)} {unit}.")
    return Table(caption, tasks, table, notes, "baseline"), rows


def _entry(row: dict | None) -> Entry:
    if row is None:
        return Entry("-")
    text = (
        f"{row['accuracy']:.{decimals(row['n_test'])}f}" if row["status"] == "ok" else row["status"]
    )
    return Entry(text)


def best(path: Path, rows: list[dict]) -> list[str]:
    """A line for the accuracy table: the best of each task of scores.parquet without a network."""
    of = {
        task: max(ok, key=lambda row: row["accuracy"])
        for task, simple in _by_task(path, rows).items()
        if (ok := [row for row in simple if row["status"] == "ok"])
    }
    parts = [f"{task} {row['accuracy']:.1f} % ({row['kind']})" for task, row in of.items()]
    return [f"Best without a network: {listed(parts)}."] if parts else []


def notes(path: Path, lines: list[dict], rows: list[dict]) -> list[str]:
    """One line a task, for the accuracy table.

    path: baselines.parquet. lines: of the accuracy table. rows: of scores.parquet. It says what
    needs no network, and how far the best model is from `conv` and `mean`, in points; models count
    where every seed is ok, at chance or not.
    """
    found = _by_task(path, rows)
    mechanism = {row["model"]: row["mechanism"] for row in rows}
    said = []
    for task in distinct(rows, "task"):
        of_task = [x for x in lines if x["task"] == task and x["verdict"] in ("ok", "FAIL")]
        simple = {mechanism[x["model"]]: x["mean"] for x in of_task}
        others = [x for x in of_task if mechanism[x["model"]] not in MIXING]
        parts = [_without(row) for row in found.get(task, [])]
        if others:
            best = max(others, key=lambda line: line["mean"])
            gaps = [
                f"{signed(best['mean'] - simple[name], 1)} over {name}"
                for name in MIXING
                if name in simple
            ]
            if gaps:
                parts.append(f"best model {best['model']} {best['mean']:.1f} %, {listed(gaps)}")
        if parts:
            said.append(f"{task}, baselines: {'; '.join(parts)}.")
    return said


def _by_task(path: Path, rows: list[dict]) -> dict[str, list[dict]]:
    """The rows of baselines.parquet by task of `rows`: those of its data set, where it has one."""
    found = grouped(read_table(path, BaselineRow).to_pylist(), "dataset")
    sets = {task: distinct(of, "dataset") for (task,), of in grouped(rows, "task").items()}
    return {
        task: found[(of[0],)] for task, of in sets.items() if len(of) == 1 and (of[0],) in found
    }


def _without(row: dict) -> str:
    return f"{row['kind']} " + (
        f"{row['accuracy']:.1f} %" if row["status"] == "ok" else row["status"]
    )
