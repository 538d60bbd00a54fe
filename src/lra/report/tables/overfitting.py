"""Train accuracy beside validation and test accuracy: Table 3 of the paper, for every task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lra.core.formats import listed, signed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value, status
from lra.results.rates import read_chosen, read_of
from lra.results.records import HistoryRow
from lra.stats.summary import outcomes, summary, unlearned

COLUMNS = {
    "train": "train",
    "validation": "validation",
    "test": "test",
    "gap": "train − test\npoints",
}


def overfitting(scores: Path, history: Path) -> tuple[Table, list[dict]]:
    """Accuracies of the scored checkpoints, and train minus test in points, by task and model.

    A mean counts only where every seed is ok. Raises LRAError where experiments are mixed.
    """
    rows = read_chosen(scores)
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    curves = grouped(read_of(history, HistoryRow, rows), "task", "model", "seed")
    lines = []
    for own in grouped(rows, "task", "model").values():
        trained = [
            trained_to(curves.get((r["task"], r["model"], r["seed"]), []), r["chosen_step"])
            for r in own
        ]
        lines.append(_line(own, trained))
    return _table(lines, rows), lines


def trained_to(curve: list[dict], step: int | None) -> float | None:
    """Train accuracy in percent up to a validation at `step`, since the validation before it.

    curve: the history rows of one cell. A row of split `train` is a mean over the steps since the
    row before, so it counts by their number. None where the curve has no such rows.
    """
    if step is None:
        return None
    before = [r["step"] for r in curve if r["split"] == "val" and r["step"] < step]
    first = last = max(before, default=0)
    total = 0.0
    for row in sorted((r for r in curve if r["split"] == "train"), key=lambda r: r["step"]):
        if first < row["step"] <= step:
            total += row["accuracy"] * (row["step"] - last)
            last = row["step"]
    return total / (step - first) if last == step else None


def _line(rows: list[dict], trained: list[float | None]) -> dict:
    """Of one model on one task; trained: train accuracy by seed."""
    line = {key: rows[0][key] for key in ("experiment", "task", "model")} | {"status": status(rows)}
    of_seeds = {
        "train": trained,
        "validation": [r["val_accuracy"] for r in rows],
        "test": [r["accuracy"] for r in rows],
    }
    known = line["status"] == "ok" and all(None not in values for values in of_seeds.values())
    if known:
        of_seeds["gap"] = [a - b for a, b in zip(trained, of_seeds["test"], strict=True)]
    for name in COLUMNS:
        found = summary(of_seeds[name]) if known else None
        line |= {name: found and found.mean, f"{name}_std": found and found.std}
    n_ok = sum(r["status"] == "ok" for r in rows)
    return line | {"n_ok": n_ok, "n_seeds": len(rows)}


def _table(lines: list[dict], rows: list[dict]) -> Table:
    seeds = distinct(rows, "seed")
    over = f"seeds {listed(seeds)}" if len(seeds) > 1 else f"seed {seeds[0]} only"
    caption = (
        f"Experiment {rows[0]['experiment']}; accuracy in percent of the scored checkpoints"
        f"{', mean ± standard deviation' if len(seeds) > 1 else ''} over {over}; last, by how many "
        "points train is above test. The largest gap of a task comes first."
    )
    if "image" in distinct(rows, "task"):
        caption += " On image a large gap is the overfitting that the paper's Table 3 reports."
    notes = [
        "train: of the batches between the validation before the checkpoint and the checkpoint, as "
        "they were trained on, with dropout. Without dropout the checkpoint would mostly do better "
        "on them, and the gap be larger.",
        "validation: where the checkpoint is the best on validation, it is chosen by this value, "
        "which is then a little too high.",
    ]
    same = distinct((r for r in rows if r["validation"] == "test set"), "task")
    if same:
        notes.append(f"{listed(same)}: validated on the test set itself.")
    if any(line["status"] != "ok" for line in lines):
        notes.append("No mean where a seed is not ok.")
    lost = [x for x in lines if x["status"] == "ok" and x["gap"] is None]
    if lost:
        cells = listed(f"{x['model']} on {x['task']}" for x in lost)
        notes.append(f"No training up to the checkpoint in scores and history (-): {cells}.")
    if grey := unlearned(outcomes(rows)):
        names = listed(task for task in distinct(rows, "task") if task in grey)
        caption += f" No model learned {names} (grey)."
    table = []
    for (task,), own in grouped(lines, "task").items():
        # sorted() keeps the order of the models where gaps are equal or missing
        largest = sorted(own, key=lambda x: (x["gap"] is None, -(x["gap"] or 0.0)))
        for line in largest:
            entries = [replace(entry, grey=task in grey) for entry in _entries(line)]
            table.append(Row(line["model"], entries, task))
    return Table(caption, [*COLUMNS.values()], table, notes)


def _entries(line: dict) -> list[Entry]:
    if line["gap"] is None:
        return [Entry("-" if line["status"] == "ok" else line["status"])] + [Entry("-")] * 3
    texts = {name: f"{line[name]:.2f}" for name in COLUMNS} | {"gap": signed(line["gap"])}
    if line["gap_std"] is not None:
        texts = {name: f"{text} ± {line[f'{name}_std']:.2f}" for name, text in texts.items()}
    return [Entry(text) for text in texts.values()]
