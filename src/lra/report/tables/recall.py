"""Right answers of Recall by the number of pairs, of each mechanism's best learning rate."""

from __future__ import annotations

from pathlib import Path

from lra.config.cell import Cell, read
from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import one_value, status
from lra.results import layout
from lra.results.baselines import BaselineRow
from lra.results.records import PartRow, ScoreRow, read_table
from lra.stats.summary import summary

NO_RECALL = "No task asks for recall."
ALL = "all"


def recall(scores: Path, parts: Path, baselines: Path, cells: Path) -> tuple[Table, list[dict]]:
    """One row a mechanism, objective and task: the model with the best validation of those that
    the mechanism has.

    cells: the experiment's folder, whose configurations say the learning rates. A model counts
    where every seed is ok. Raises LRAError where experiments are mixed.
    """
    rows = [r for r in read_table(scores, ScoreRow).to_pylist() if _base(r) == "recall"]
    if not rows:
        return Table(NO_RECALL, [], [], []), []
    one_value(scores, rows, "experiment", "protocol")
    found = [r for r in read_table(parts, PartRow).to_pylist() if r["by"] == "label"]
    by_pairs = {
        key: {first: summary([r["accuracy"] for r in own]).mean for (first,), own in groups.items()}
        for key, of in grouped(found, "task", "model").items()
        for groups in [grouped(of, "first")]
    }
    lines = [
        _line([_model(own, by_pairs, cells) for own in grouped(of, "model").values()])
        for of in grouped(rows, "task", "objective", "mechanism").values()
    ]
    floors = [
        row
        for row in read_table(baselines, BaselineRow).to_pylist()
        if row["task"] in distinct(rows, "task") and row["accuracy"] is not None
    ]
    return _table(lines, rows, floors), lines


def _base(row: dict) -> str:
    return row["variant_of"] or row["task"]


def _model(rows: list[dict], by_pairs: dict[tuple, dict], root: Path) -> dict:
    """One model: means over its seeds."""
    names = ("experiment", "task", "objective", "mechanism", "model")
    line = {key: rows[0][key] for key in names}
    path = root / layout.CONFIG.format(**rows[0])
    line |= {"rate": read(Cell, str(path)).training.learning_rate if path.exists() else None}
    line |= {"status": status(rows)} | dict.fromkeys(("validation", "accuracy", "pairs"))
    if line["status"] == "ok":
        line |= {"validation": summary([r["val_accuracy"] for r in rows]).mean}
        line |= {"accuracy": summary([r["accuracy"] for r in rows]).mean}
        line |= {"pairs": by_pairs.get((line["task"], line["model"]), {})}
    return line


def _line(models: list[dict]) -> dict:
    ok = [each for each in models if each["status"] == "ok"]
    best = max(ok, key=lambda each: each["validation"]) if ok else models[0]
    tried = (
        f"{each['rate']}: "
        + (each["status"] if each["accuracy"] is None else f"{each['accuracy']:.1f}")
        for each in models
    )
    at = {f"pairs_{pairs}": value for pairs, value in (best["pairs"] or {}).items()}
    line = {key: value for key, value in best.items() if key != "pairs"}
    return line | {"n_rates": len(models), "tried": listed(tried)} | at


def _table(lines: list[dict], rows: list[dict], floors: list[dict]) -> Table:
    columns = list(dict.fromkeys(k for line in lines for k in line if k.startswith("pairs_")))
    for line in lines:  # of a csv, where every line has the same columns
        line |= {column: line.get(column) for column in columns}
    several = len(distinct(rows, "task")) > 1
    table = [
        Row(
            line["mechanism"],
            [
                Entry(_percent(line["accuracy"]) or line["status"], line["tried"]),
                Entry("-" if line["rate"] is None else f"{line['rate']:g}"),
                *(Entry(_percent(line[column]) or "-") for column in columns),
            ],
            line["objective"] + (f", {line['task']}" if several else ""),
        )
        for line in lines
    ]
    table += [
        Row(
            row["kind"],
            [Entry(_percent(row["accuracy"])), *[Entry("-")] * (1 + len(columns))],
            "without a network" + (f", {row['task']}" if several else ""),
        )
        for row in floors
    ]
    seeds = distinct(rows, "seed")
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {rows[0]['protocol']}, "
        f"{'mean over seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}. Percent of the asked "
        "values that are right on the test split, in all and by the number of pairs, at the "
        "learning rate with the best validation accuracy; below, each rate that was tried."
    )
    headings = [ALL, "rate", *(f"{column.removeprefix('pairs_')} pairs" for column in columns)]
    notes = ["One rate alone would compare how mechanisms were tuned (arXiv:2508.19029)."]
    if any(line["n_rates"] == 1 for line in lines):
        notes.append("Some have one rate alone: their values are no best of several.")
    return Table(caption, headings, table, notes, "mechanism")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
