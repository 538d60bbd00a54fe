"""From the files of single jobs to one table for the experiment.

Each function is told what to read, and never looks what there is: a folder that an earlier
configuration left behind must not get into a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pyarrow as pa

from lra.cell import Strict
from lra.errors import LRAError
from lra.records import (
    CurveRow,
    HistoryRow,
    MemoryRecord,
    MemoryRow,
    ScoreRecord,
    ScoreRow,
    SpanRecord,
    SpanRow,
    SpeedRecord,
    SpeedRow,
    TrainRecord,
    arrow_schema,
    read_record,
    read_table,
    write_rows,
    write_table,
)


def scores(
    root: Path,
    tasks: Iterable[str],
    models: Iterable[str],
    seeds: Iterable[int],
    experiment: str,
    protocol: str,
    out: Path,
) -> None:
    """Join each cell's train.json and score.json under `root` to one row of scores.parquet.

    A cell is only ok where both its training and its scoring were; otherwise it has no accuracy.
    Raises LRAError naming the file where one is missing or broken.
    """
    rows = []
    for task, model, seed in product(tasks, models, seeds):
        cell = root / "cells" / task / model / f"seed{seed}"
        train = read_record(cell / "train.json", TrainRecord)
        score = read_record(cell / "score.json", ScoreRecord)
        status = train.status if train.status != "ok" else score.status
        _check_figure(cell / "score.json", status, "accuracy", score.accuracy)
        own = {
            "experiment": experiment,
            "protocol": protocol,
            "task": task,
            "model": model,
            "seed": seed,
            "status": status,
            "accuracy": score.accuracy if status == "ok" else None,
            "loss": score.loss if status == "ok" else None,
            "n_test": score.n_test,
            "chance": score.chance,
            "validation": score.validation,
        }
        rows.append(_shared_fields(train, ScoreRow) | own)
    write_rows(out, rows, ScoreRow)


def history(
    root: Path, tasks: Iterable[str], models: Iterable[str], seeds: Iterable[int], out: Path
) -> None:
    """Stack the cells' history.parquet, each with its cell's name.

    Raises LRAError naming the file where one is missing or broken.
    """
    schema = arrow_schema(HistoryRow)
    tables = [schema.empty_table()]
    for task, model, seed in product(tasks, models, seeds):
        path = root / "cells" / task / model / f"seed{seed}" / "history.parquet"
        table = read_table(path, CurveRow)
        for name, value in (("task", task), ("model", model), ("seed", seed)):
            column = pa.repeat(pa.scalar(value, schema.field(name).type), len(table))
            table = table.append_column(name, column)
        try:
            tables.append(table.cast(schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise LRAError(f"{path}: {error}; delete the file to make it again") from None
    write_table(out, pa.concat_tables(tables).combine_chunks())


def span(
    root: Path,
    tasks: Iterable[str],
    models: Iterable[str],
    seeds: Iterable[int],
    experiment: str,
    out: Path,
) -> None:
    """Join the span/<task>/<model>/seed<k>.json under `root` to span.parquet.

    Raises LRAError naming the file where one is missing or broken.
    """
    rows = []
    for task, model, seed in product(tasks, models, seeds):
        path = root / "span" / task / model / f"seed{seed}.json"
        own = {"experiment": experiment, "task": task, "model": model, "seed": seed}
        for measure in read_record(path, SpanRecord).measures:
            _check_figure(path, measure.status, "span", measure.span)
            rows.append(_shared_fields(measure, SpanRow) | own)
    write_rows(out, rows, SpanRow)


def speed(
    root: Path, models: Iterable[str], lengths: Iterable[int], experiment: str, out: Path
) -> None:
    """Join the profile/speed/<model>/<length>.json under `root` to speed.parquet.

    Raises LRAError naming the file where one is missing, broken or of another point.
    """
    points = product(models, lengths)
    rows = _profile(root / "profile" / "speed", points, SpeedRecord, "train_steps_per_s")
    write_rows(
        out, [_shared_fields(r, SpeedRow) | {"experiment": experiment} for r in rows], SpeedRow
    )


def memory(
    root: Path, models: Iterable[str], lengths: Iterable[int], experiment: str, out: Path
) -> None:
    """Join the profile/memory/<model>/<length>.json under `root` to memory.parquet.

    Raises LRAError naming the file where one is missing, broken or of another point.
    """
    points = product(models, lengths)
    rows = _profile(root / "profile" / "memory", points, MemoryRecord, "peak_bytes")
    write_rows(
        out, [_shared_fields(r, MemoryRow) | {"experiment": experiment} for r in rows], MemoryRow
    )


def _profile(
    folder: Path, points: Iterable[tuple[str, int]], kind: type[Strict], figure: str
) -> list[Strict]:
    records = []
    for model, length in points:
        path = folder / model / f"{length}.json"
        record = read_record(path, kind)
        if (record.model, record.length) != (model, length):
            raise LRAError(
                f"{path}: is of {record.model} at {record.length}; delete it to make it again"
            )
        _check_figure(path, record.status, figure, getattr(record, figure))
        records.append(record)
    return records


def _check_figure(path: Path, status: str, name: str, value: float | None) -> None:
    if status == "ok" and (value is None or not math.isfinite(value)):
        raise LRAError(f"{path}: {name} is {value} though status is ok; delete it to make it again")


def _shared_fields(record: Strict, row: type[Strict]) -> dict:
    """The fields of a record that its row class has too."""
    return {k: v for k, v in record.model_dump().items() if k in row.model_fields}
