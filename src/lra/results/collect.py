"""From the records of single jobs to one Parquet table for the experiment.

Each function is given what to read and never searches a folder: what an earlier configuration left
behind must not get into a table. All raise LRAError naming the file where one is missing, broken,
or of another cell than its path says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import pyarrow as pa

from lra.config.cell import profile_row
from lra.core.errors import LRAError
from lra.core.schema import Strict
from lra.results import layout
from lra.results.baselines import BaselineRecord, BaselineRow
from lra.results.generations import GenerationRecord, GenerationRow
from lra.results.points import KINDS
from lra.results.records import (
    CurveRow,
    HistoryRow,
    PartRow,
    ScoreRecord,
    ScoreRow,
    SpanRecord,
    SpanRow,
    TrainRecord,
    arrow_schema,
    read_record,
    read_table,
    write_rows,
    write_table,
)

Cells = Iterable[tuple[str, str, int]]  # task, model, seed
MEASURES = {  # records that hold several, in a field; a field of each is null where it is not ok
    "span": (layout.SPAN_RECORD, SpanRecord, "measures", SpanRow, "span"),
    "generate": (
        layout.GENERATION_RECORD,
        GenerationRecord,
        "samplers",
        GenerationRow,
        "evaluations",
    ),
}
WHAT = ("scores", "history", "span", "generate", "parts", "baselines", *KINDS)


def collect(
    what: str,
    root: Path,
    out: Path,
    tasks: Sequence[str],
    models: Sequence[str],
    seeds: Sequence[int],
    lengths: Sequence[int],
) -> None:
    """Write the table `what` (one of WHAT) of the experiment in `root` to `out`."""
    if what in KINDS:
        _points(what, root, out, product(models, lengths))
        return
    if what == "baselines":
        _baselines(root, out, tasks)
        return
    cells = product(tasks, models, seeds)
    if what in MEASURES:
        _measures(*MEASURES[what], root, out, cells)
        return
    {"scores": _scores, "history": _history, "parts": _parts}[what](root, out, cells)


def _scores(root: Path, out: Path, cells: Cells) -> None:
    """Join train.json and score.json. A cell is ok where training and scoring both were.

    Of tokens also the validation loss, which train.json lacks.
    """
    rows = []
    for cell in cells:
        train = _record(root, layout.TRAIN_RECORD, TrainRecord, cell)
        score = _record(root, layout.SCORE_RECORD, ScoreRecord, cell)
        status = train.status if train.status != "ok" else score.status
        _check_value(_path(root, layout.SCORE_RECORD, cell), status, "accuracy", score.accuracy)
        row = _shared_fields(score, ScoreRow) | _shared_fields(train, ScoreRow)
        if score.objective != "classify":
            row |= {"val_loss": _validation_loss(root, cell, train.chosen_step)}
        if status != "ok":
            row |= {"status": status, "accuracy": None, "loss": None}
        rows.append(row)
    write_rows(out, rows, ScoreRow)


def _validation_loss(root: Path, cell: tuple[str, str, int], step: int | None) -> float | None:
    """Of the checkpoint of `step`; None where none was chosen."""
    curve = read_table(_path(root, layout.HISTORY, cell), CurveRow).to_pylist()
    return next((r["loss"] for r in curve if (r["split"], r["step"]) == ("val", step)), None)


def _history(root: Path, out: Path, cells: Cells) -> None:
    """Stack the learning curves, each with its cell's name."""
    schema = arrow_schema(HistoryRow)
    tables = [schema.empty_table()]
    for cell in cells:
        path = _path(root, layout.HISTORY, cell)
        table = read_table(path, CurveRow)
        for name, value in zip(("task", "model", "seed"), cell, strict=True):
            column = pa.repeat(pa.scalar(value, schema.field(name).type), len(table))
            table = table.append_column(name, column)
        try:
            tables.append(table.cast(schema))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
            raise LRAError(f"{path}: {error}; delete the file to make it again") from None
    write_table(out, pa.concat_tables(tables).combine_chunks())


def _measures(
    pattern: str,
    kind: type[Strict],
    several: str,
    row: type[Strict],
    value: str,
    root: Path,
    out: Path,
    cells: Cells,
) -> None:
    """A row for each that a cell's record holds in its field `several` (see MEASURES)."""
    rows = []
    for cell in cells:
        record = _record(root, pattern, kind, cell)
        for measure in getattr(record, several):
            _check_value(_path(root, pattern, cell), measure.status, value, getattr(measure, value))
            rows.append(_shared_fields(record, row) | _shared_fields(measure, row))
    write_rows(out, rows, row)


def _parts(root: Path, out: Path, cells: Cells) -> None:
    """Of the cells that are ok; which others there are, is in the scores."""
    rows = []
    for cell in cells:
        record = _record(root, layout.SCORE_RECORD, ScoreRecord, cell)
        rows += [
            _shared_fields(record, PartRow) | _shared_fields(part, PartRow)
            for part in record.parts or []
        ]
    write_rows(out, rows, PartRow)


def _baselines(root: Path, out: Path, tasks: Sequence[str]) -> None:
    rows = []
    for task in tasks:
        path = root / layout.BASELINE_RECORD.format(task=task)
        record = read_record(path, BaselineRecord)
        if record.task != task:
            raise LRAError(f"{path}: is of {record.task}; delete it to make it again")
        for measure in record.measures:
            name = "accuracy" if measure.bits is None else "bits"
            _check_value(path, measure.status, name, getattr(measure, name))
            rows.append(_shared_fields(record, BaselineRow) | _shared_fields(measure, BaselineRow))
    write_rows(out, rows, BaselineRow)


def _points(what: str, root: Path, out: Path, points: Iterable[tuple[str, int]]) -> None:
    kind, row, value = KINDS[what]
    rows = []
    for model, length in points:
        path = root / layout.POINT_RECORD.format(what=what, model=model, length=length)
        record = read_record(path, kind)
        own = (profile_row(record.model, record.setting), record.length)
        if own != (model, length):
            raise LRAError(f"{path}: is of {own[0]} at {own[1]}; delete it to make it again")
        _check_value(path, record.status, value, getattr(record, value))
        rows.append(_shared_fields(record, row))
    write_rows(out, rows, row)


def _path(root: Path, pattern: str, cell: tuple[str, str, int]) -> Path:
    task, model, seed = cell
    return root / pattern.format(task=task, model=model, seed=seed)


def _record(root: Path, pattern: str, kind: type[Strict], cell: tuple[str, str, int]):
    path = _path(root, pattern, cell)
    record = read_record(path, kind)
    if (record.task, record.model, record.seed) != cell:
        own = f"{record.task}/{record.model}/seed{record.seed}"
        raise LRAError(f"{path}: is of {own}; delete it to make it again")
    return record


def _check_value(path: Path, status: str, name: str, value: float | None) -> None:
    if status == "ok" and (value is None or not math.isfinite(value)):
        raise LRAError(f"{path}: {name} is {value} though status is ok; delete it to make it again")


def _shared_fields(record: Strict, row: type[Strict]) -> dict:
    """The fields of a record that its row class has too."""
    return {k: v for k, v in record.model_dump().items() if k in row.model_fields}
