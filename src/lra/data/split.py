"""The on-disk format of every data set: one Arrow IPC file per split, memory-mapped.

Columns: ``tokens`` (list<uint8>, or uint16 where the vocabulary needs it), ``label`` (int64) and,
for two-tower tasks, ``tokens_b``. Where only some tokens are to be predicted, ``counted``
(list<uint8>) is 1 at these. The schema's metadata key ``lra`` holds the JSON of `Info`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lra.core.errors import LRAError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Info:
    """What a split's metadata say.

    vocab: the name of each token id; None where tokens are bytes or pixels.
    pads: token 0 is padding, which is masked (listops, text, retrieval); else it is a pixel value.
    validation: "held out" of the training data, or the "test set" itself.
    """

    task: str
    vocab_size: int
    classes: int
    max_length: int
    pads: bool
    vocab: list[str] | None = None
    source: str = ""
    validation: str = "held out"
    checksums: dict[str, str] = field(default_factory=dict)
    generator: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sequences:
    """Ragged token sequences: example i is ``values[offsets[i]:offsets[i + 1]]``."""

    values: np.ndarray  # (total tokens,) uint8 or uint16
    offsets: np.ndarray  # (examples + 1,) int64


@dataclass(frozen=True)
class Split:
    """One split in memory; `towers` holds one `Sequences`, or two for two-tower tasks."""

    towers: tuple[Sequences, ...]
    labels: np.ndarray  # (examples,) int64
    info: Info
    counted: Sequences | None = None  # 1 at each token that is to be predicted; None: all are

    def __len__(self) -> int:
        return len(self.labels)


def table_of(values: np.ndarray, offsets: np.ndarray, labels: np.ndarray) -> pa.Table:
    """Flat tokens (total,), offsets (n + 1,) and labels (n,) as a table of the on-disk format."""
    tokens = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
    return pa.table({"tokens": tokens, "label": pa.array(labels, pa.int64())})


def grid_table(grid: np.ndarray, labels: np.ndarray, counted: np.ndarray | None = None) -> pa.Table:
    """Examples of one length as such a table: tokens and marks (n, tokens), labels (n,)."""
    offsets = np.arange(len(grid) + 1) * grid.shape[1]
    table = table_of(grid.ravel(), offsets, labels)
    if counted is None:
        return table
    marks = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(counted.ravel()))
    return table.append_column("counted", marks)


class SplitWriter:
    """Writes tables, one record batch each, to a file beside `path`.

    `finish` renames it to `path`; `abandon` removes it.
    """

    def __init__(self, path: Path, info: Info) -> None:
        self.path, self.info, self.rows = path, info, 0
        self.partial = path.with_name(path.name + ".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.sink = pa.OSFile(str(self.partial), "wb")
        self.writer = None

    def write(self, table: pa.Table) -> None:
        if self.writer is None:
            schema = table.schema.with_metadata({"lra": json.dumps(asdict(self.info))})
            self.writer = pa.ipc.new_file(self.sink, schema)
        self.writer.write_table(table.combine_chunks())
        self.rows += len(table)

    def finish(self) -> None:
        if self.writer is None:
            raise LRAError(f"{self.path}: no examples to write")
        self.writer.close()
        self.sink.close()
        self.partial.replace(self.path)

    def abandon(self) -> None:
        self.sink.close()
        self.partial.unlink(missing_ok=True)


def write_split(path: Path, tables: Iterable[pa.Table], info: Info) -> int:
    """Write the tables to `path`, whole or not at all; return the row count."""
    writer = SplitWriter(path, info)
    try:
        for table in tables:
            writer.write(table)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return writer.rows


def _sequences(batches: list[pa.RecordBatch], column: str) -> Sequences:
    arrays = [batch.column(column) for batch in batches]
    values, lengths = [], []
    for array in arrays:
        offsets = array.offsets.to_numpy()
        values.append(array.values.to_numpy()[offsets[0] : offsets[-1]])
        lengths.append(np.diff(offsets))
    total = np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)
    return Sequences(values[0] if len(values) == 1 else np.concatenate(values), total)


def read_split(path: Path) -> Split:
    """Map a split into memory.

    Raises LRAError naming the file where it is missing, cut short or not in this format.
    """
    try:
        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            schema = reader.schema
    except FileNotFoundError:
        raise LRAError(f"{path}: no such data file; make it with 'snakemake {path}'") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise LRAError(
            f"{path}: not a complete Arrow file, perhaps cut short ({str(error).splitlines()[0]}); "
            "delete it and run snakemake again"
        ) from None
    try:
        info = Info(**json.loads(schema.metadata[b"lra"]))
        towers = tuple(
            _sequences(batches, name) for name in ("tokens", "tokens_b") if name in schema.names
        )
        labels = np.concatenate([batch.column("label").to_numpy() for batch in batches])
        counted = _sequences(batches, "counted") if "counted" in schema.names else None
    except (KeyError, TypeError, ValueError) as error:
        raise LRAError(f"{path}: not a split of this pipeline ({error}); make it again") from None
    return Split(towers, labels, info, counted)
