"""What the trainings took: time, and energy where a driver told it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lra.core.unique import distinct
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import listed, nothing, number, one_value, status
from lra.results.records import ScoreRow, read_table
from lra.stats.summary import summary

TIMES = {"s": 1.0, "min": 60.0, "h": 3600.0}
ENERGIES = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9}


def training(scores: Path) -> tuple[Table, list[dict]]:
    """Write mean seconds and joules of the trainings in scores.parquet, of a model on a task.

    A mean counts only where every seed is ok, of joules where each was told. Raises LRAError where
    experiments are mixed.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return nothing(), []
    one_value(scores, rows, "experiment")
    lines = []
    for task in distinct(rows, "task"):
        for model in distinct(rows, "model"):
            own = [r for r in rows if (r["task"], r["model"]) == (task, model)]
            lines += [_line(own)] if own else []
    return _sheet(lines, rows), lines


def _line(rows: list[dict]) -> dict:
    line = {key: rows[0][key] for key in ("experiment", "task", "model")}
    line |= {"device": listed(distinct(rows, "device")), "status": status(rows)}
    for name, column in (("seconds", "train_seconds"), ("joules", "energy_joules")):
        values = [r[column] for r in rows]
        known = line["status"] == "ok" and None not in values
        found = summary(values) if known else None
        line |= {name: found and found.mean, f"{name}_std": found and found.std}
    n_ok = sum(r["status"] == "ok" for r in rows)
    return line | {"n_ok": n_ok, "n_seeds": len(rows)}


def _sheet(lines: list[dict], rows: list[dict]) -> Table:
    tasks, devices = distinct(rows, "task"), distinct(rows, "device")
    time, energy = _unit(TIMES, lines, "seconds"), _unit(ENERGIES, lines, "joules")
    at = {(line["model"], line["task"]): line for line in lines}
    table = [
        Row(model, [_entry(at.get((model, task)), time, energy) for task in tasks])
        for model in distinct(rows, "model")
    ]
    told = any(line["joules"] is not None for line in lines)
    caption = (
        f"Experiment {rows[0]['experiment']}, on {listed(devices)}. Time of one training in "
        f"{time}, mean over seeds {listed(distinct(rows, 'seed'))}"
        + ("; below, energy of the whole GPU, by its driver." if told else ".")
        + (" More than one device: not all cells compare." if len(devices) > 1 else "")
    )
    notes = [
        "Time: wall clock over all resumptions, evaluation included. Trainings may have run beside "
        "each other."
    ]
    silent = [x for x in lines if x["status"] == "ok" and x["joules"] is None]
    if not told:
        notes.append(f"Energy: no driver told it on {listed(devices)}.")
    elif silent:
        cells = [f"{x['model']} on {x['task']}" for x in silent]
        notes.append(f"Energy: not told of every seed of {listed(cells)}.")
    if any(line["status"] != "ok" for line in lines):
        notes.append("No mean where a seed is not ok.")
    return Table(caption, tasks, table, notes)


def _entry(line: dict | None, time: str, energy: str) -> Entry:
    if line is None:
        return Entry("-")
    if line["seconds"] is None:
        return Entry(line["status"])
    joules = line["joules"]
    under = "" if joules is None else f"{number(joules, ENERGIES[energy])} {energy}"
    return Entry(number(line["seconds"], TIMES[time]), under)


def _unit(units: dict[str, float], lines: Iterable[dict], column: str) -> str:
    """The largest in which the smallest figure of the table is at least 1."""
    known = [line[column] for line in lines if line[column] is not None]
    smallest = max(min(known, default=1.0), 1.0)
    return max((u for u in units if units[u] <= smallest), key=units.get)
