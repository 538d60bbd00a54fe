"""What the trainings cost: time, and energy where the GPU's driver reported it."""

from __future__ import annotations

from pathlib import Path

from lra.core.formats import JOULES, SECONDS, elapsed, fitting_unit, listed, number
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Table
from lra.report.tables.write import NOTHING, models_by, one_value, status
from lra.results.rates import read_chosen
from lra.stats.summary import summary


def training(scores: Path) -> tuple[Table, list[dict]]:
    """Mean seconds and joules of the trainings in scores.parquet, by task and model.

    A mean counts only where every seed is ok, of joules where each was reported. Raises LRAError
    where experiments are mixed.
    """
    rows = read_chosen(scores)
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    lines = [_line(own) for own in grouped(rows, "task", "model").values()]
    return _table(lines, rows), lines


def _line(rows: list[dict]) -> dict:
    line = {key: rows[0][key] for key in ("experiment", "task", "model")}
    line |= {"device": listed(distinct(rows, "device")), "status": status(rows)}
    for name, column in (
        ("seconds", "train_seconds"),
        ("joules", "energy_joules"),
        ("pretrain_seconds", "pretrain_seconds"),
    ):
        values = [r[column] for r in rows]
        known = line["status"] == "ok" and None not in values
        found = summary(values) if known else None
        line |= {name: found and found.mean, f"{name}_std": found and found.std}
    n_ok = sum(r["status"] == "ok" for r in rows)
    return line | {"n_ok": n_ok, "n_seeds": len(rows)}


def _table(lines: list[dict], rows: list[dict]) -> Table:
    devices = distinct(rows, "device")
    time, second = fitting_unit((line["seconds"] for line in lines), SECONDS)
    energy, joule = fitting_unit((line["joules"] for line in lines), JOULES)

    def entry(line: dict) -> Entry:
        if line["seconds"] is None:
            return Entry(line["status"])
        joules = line["joules"]
        below = "" if joules is None else f"{number(joules, joule)} {energy}"
        return Entry(number(line["seconds"], second), below)

    measured = any(line["joules"] is not None for line in lines)
    caption = (
        f"Experiment {rows[0]['experiment']}, on {listed(devices)}. Time of one training in "
        f"{time}, mean over seeds {listed(distinct(rows, 'seed'))}"
        + ("; below, energy of the whole GPU, by its driver." if measured else ".")
        + (" More than one device: not all cells are comparable." if len(devices) > 1 else "")
    )
    notes = [
        "Time: wall clock over all resumptions, evaluation included. Trainings may have run beside "
        "each other."
    ]
    partly = [x for x in lines if x["status"] == "ok" and x["joules"] is None]
    if not measured:
        notes.append(f"Energy not measured: no driver reported it on {listed(devices)}.")
    elif partly:
        cells = [f"{x['model']} on {x['task']}" for x in partly]
        notes.append(f"Energy not reported for every seed: {listed(cells)}.")
    first = [x for x in lines if x["pretrain_seconds"] is not None]
    if first:
        took = (f"{x['model']} on {x['task']} {elapsed(x['pretrain_seconds'])}" for x in first)
        notes.append(f"Pretraining took besides: {listed(took)}.")
    if any(line["status"] != "ok" for line in lines):
        notes.append("No mean where a seed is not ok.")
    table = models_by("task", lines, distinct(rows, "model"), entry)
    return Table(caption, distinct(rows, "task"), table, notes)
