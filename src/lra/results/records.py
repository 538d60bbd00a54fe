"""Every record and table that the pipeline writes, as typed schemas; profiles' are in points.py.

A record is one JSON file of one job; a row is one line of a Parquet table. A missing value is null
beside a `status` that says why, never 0.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from lra.config.cell import Cell
from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.core.schema import Strict, checked

Status = Literal["ok", "oom", "diverged", "timeout", "unsupported"]


class Provenance(Strict):
    """What a value was made with."""

    fingerprint: str  # of the code that can change the result
    device: str  # "cpu: <processor>" or "cuda: <name>"
    torch_version: str
    git_commit: str | None  # null outside a git checkout; "-dirty" where the tree had changes


class GpuUse(Strict):
    """What the NVIDIA driver reported of the GPU during the job; null where it reported nothing"""

    name: str | None
    driver: str
    memory_bytes: int | None  # in use at the peak, of all processes on it
    utilisation: float | None  # mean percent of the time in which a kernel ran
    watts: float | None  # mean


class CellName(Strict):
    """Which cell a record is of"""

    experiment: str
    protocol: str
    task: str
    variant_of: str | None = None  # the task whose column it belongs to
    model: str
    mechanism: str
    dataset: str
    seed: int


class TrainRecord(CellName, Provenance):
    """train.json; and pretrain.json, whose accuracy is that of predicted tokens"""

    status: Status
    reason: str | None  # one line, where status is not ok
    params: int
    reach: int | None = None  # tokens on either side that one layer mixes; null: all, or otherwise
    steps: int  # optimiser steps done
    chosen_step: int | None  # step of the checkpoint that is scored
    train_seconds: float  # wall clock over all resumptions, evaluation included
    val_accuracy: float | None  # percent, of the chosen checkpoint
    # of the whole GPU, over all resumptions; null on a CPU, or where others may have used it too
    energy_joules: float | None = None
    gpu: GpuUse | None = None  # of the last resumption
    pretrained: str | None = None  # SHA-256 of the checkpoint that the training began from
    pretrain_seconds: float | None = None  # of making that; in no other value


class Part(Strict):
    """Some of the predicted tokens, see `lra.evaluation.tokens.Part`"""

    by: Literal["position", "label"]
    first: int
    last: int
    tokens: int  # that the loss is a mean of; each counts once a draw
    predictions: int
    loss: float  # nats
    accuracy: float | None  # percent; null without a prediction
    times: int = 1  # length of the windows over that in training


class ScoreRecord(CellName, Provenance):
    """score.json; of tokens, accuracy and loss are over all that are predicted"""

    status: Status
    reason: str | None
    accuracy: float | None  # percent on the test split
    loss: float | None  # mean cross entropy in nats on the test split
    attended_tokens: float | None = None  # of a test example, both documents together: the mean
    objective: str = Field("classify", exclude_if=lambda given: given == "classify")
    n_test: int
    chance: float  # percent of the test split's majority class
    validation: str  # what the validation split was: "held out" or "test set"
    parts: list[Part] | None = Field(None, exclude_if=lambda given: given is None)
    # bytes of one sequence's state after a whole window; null without a causal form by steps
    state_bytes: int | None = Field(None, exclude_if=lambda given: given is None)
    # percent of the examples whose answers are all right; of tasks that ask for some tokens alone
    exact_match: float | None = Field(None, exclude_if=lambda given: given is None)
    # as `loss`, of windows 16 times as long as in training; or why these were not read
    long_loss: float | None = Field(None, exclude_if=lambda given: given is None)
    long_reason: str | None = Field(None, exclude_if=lambda given: given is None)


class ScoreRow(CellName):
    """scores.parquet, one row a cell"""

    status: Status
    accuracy: float | None
    val_accuracy: float | None
    val_loss: float | None = None  # nats, of the chosen checkpoint; of cells that predict tokens
    loss: float | None
    attended_tokens: float | None = None
    objective: str | None = None  # null: classify
    state_bytes: int | None = None  # of one sequence after a whole window; null: not causal
    exact_match: float | None = None  # percent of the examples whose answers are all right
    long_loss: float | None = None  # nats, of windows 16 times as long as in training
    long_reason: str | None = None  # why these were not read
    n_test: int
    chance: float
    params: int
    reach: int | None = None  # tokens on either side that one layer mixes; null: all, or otherwise
    steps: int
    chosen_step: int | None = None  # step of the checkpoint that is scored
    train_seconds: float
    energy_joules: float | None = None  # of the training
    pretrain_seconds: float | None = None  # of its pretraining, where it has one; not in the others
    fingerprint: str
    device: str
    torch_version: str
    git_commit: str | None
    validation: str


class PartRow(Strict):
    """parts.parquet, one row a cell that is ok and a part of its test tokens"""

    experiment: str
    task: str
    model: str
    mechanism: str
    seed: int
    objective: str
    by: Literal["position", "label"]
    first: int
    last: int
    tokens: int
    predictions: int
    loss: float
    accuracy: float | None
    times: int | None = None  # length of the windows over that in training; null: 1


class CurveRow(Strict):
    """history.parquet of one cell, and with the cell's name of an experiment"""

    step: int
    split: Literal["train", "val"]
    loss: float
    accuracy: float  # percent
    learning_rate: float
    seconds: float  # since the start of training


class HistoryRow(CurveRow):
    task: str
    model: str
    seed: int


class PredictionRow(Strict):
    """predictions.parquet, in the order of test.arrow"""

    label: int
    prediction: int


class SpanMeasure(Strict):
    """The required attention span of one layer, by one method"""

    method: Literal["attention", "gradient"]
    layer: int  # from 0; -1: the mean over layers
    samples: int  # sequences; of two towers each document is one
    status: Status
    span: float | None  # tokens between a query and what it reads, weighted by how much it does
    relative: float | None  # mean over the samples of span / uniform
    uniform: float  # tokens: span of attention that weighs all real tokens alike
    heads: list[float] | None  # span of each head, where the method tells them apart


class SpanRecord(CellName, Provenance):
    """span/<task>/<model>/seed<k>.json"""

    reason: str | None
    measures: list[SpanMeasure]


class SpanRow(Strict):
    """span.parquet, one row per cell, method and layer"""

    experiment: str
    task: str
    model: str
    seed: int
    method: Literal["attention", "gradient"]
    layer: int
    samples: int
    span: float | None
    relative: float | None
    uniform: float
    status: Status


ARROW = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}


def arrow_schema(row: type[Strict]) -> pa.Schema:
    """The Arrow schema of a row class; `X | None` is a nullable column, Literals are strings."""
    fields = []
    for name, info in row.model_fields.items():
        arguments = typing.get_args(info.annotation)
        optional = isinstance(info.annotation, types.UnionType) and type(None) in arguments
        kind = arguments[0] if optional else info.annotation
        fields.append(pa.field(name, ARROW.get(kind, pa.string()), nullable=optional))
    return pa.schema(fields)


def named(cell: Cell) -> dict[str, str | int]:
    """The fields of `CellName`."""
    own = ("experiment", "protocol", "task", "variant_of", "model", "dataset", "seed")
    return {key: getattr(cell, key) for key in own} | {"mechanism": cell.encoder.attention}


def in_bits(nats: float) -> float:
    return nats / math.log(2)


def write_record(path: Path, record: Strict) -> None:
    write_beside(path, (record.model_dump_json(indent=2) + "\n").encode())


def read_record(path: Path, kind: type[Strict]):
    """Raises LRAError naming the file and key where it is missing or not such a record."""
    again = "delete the file to make it again"
    try:
        return checked(kind, json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise LRAError(f"{path}: no such file") from None
    except LRAError as error:
        raise LRAError(f"{error}; {again}") from None
    except ValueError as error:
        raise LRAError(f"{path}: not JSON ({error}); {again}") from None


def write_rows(path: Path, rows: Iterable[dict], row: type[Strict]) -> None:
    """Write rows as Parquet, each checked against its class."""
    checked = [row.model_validate(r).model_dump() for r in rows]
    write_table(path, pa.Table.from_pylist(checked, arrow_schema(row)))


def write_table(path: Path, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write_beside(path, sink.getvalue().to_pybytes())


def read_table(path: Path, row: type[Strict]) -> pa.Table:
    """A column that may be null is null where an older table lacks it.

    Raises LRAError naming the file and column where the table is not of the row class.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise LRAError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise LRAError(
            f"{path}: not a Parquet file ({error}); delete it to make it again"
        ) from None
    expected = arrow_schema(row)
    for field in expected:
        if field.nullable and field.name not in table.schema.names:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    if set(table.schema.names) == set(expected.names):
        return table.select(expected.names)
    odd = set(table.schema.names) ^ set(expected.names)
    raise LRAError(f"{path}: columns {', '.join(sorted(odd))} are missing or unknown")
