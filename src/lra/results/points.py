"""Records and rows of profiles: one (model, setting, length) whose speed or memory was measured.

And of decoding: one (model, context), or (model, length) trained in both directions.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from lra.config.cell import FAST
from lra.core.schema import Strict
from lra.results.records import GpuUse, Provenance, Status, read_table

MOST_APART = 0.25  # of the median: the range of the repeats on a quiet machine
LEAST_CPU = 0.9  # CPU seconds per second: a process that waits for no other has at least one
BUSY = (
    f"the machine was busy: the repeats differ by more than {100 * MOST_APART:g} % of their "
    f"median, or the process had a CPU for less than {100 * LEAST_CPU:g} % of the time"
)


class Speeds(Strict):
    """What a profile of speed measures; older tables lack what may be null"""

    train_steps_per_s: float | None
    infer_steps_per_s: float | None
    tokens_per_s: float | None  # trained on
    # Lowest and highest of the repeats, whose median is above.
    train_steps_per_s_low: float | None = None
    train_steps_per_s_high: float | None = None
    infer_steps_per_s_low: float | None = None
    infer_steps_per_s_high: float | None = None
    repeats: int | None = None  # of training
    cpu_share: float | None = None  # CPU seconds per second of training; null on a GPU
    joules_per_step: float | None = None  # of training, of the whole GPU
    # of forward and backward (lra.models.flops)
    flops_per_step: int | None = None
    kernels_per_step: int | None = None


class Peaks(Strict):
    """What a profile of memory measures"""

    peak_bytes: int | None  # tensors: parameters, gradients, optimiser state, activations
    process_bytes: int | None  # resident set of the whole process at its peak


class Decodings(Strict):
    """What is measured of a model after a context; rates are medians of the repeats, with their
    quartiles"""

    state: str  # of lra.attention.steps.Kind
    prefill_tokens_per_s: float | None
    prefill_tokens_per_s_low: float | None
    prefill_tokens_per_s_high: float | None
    prefill_repeats: int | None
    decode_tokens_per_s: float | None
    decode_tokens_per_s_low: float | None
    decode_tokens_per_s_high: float | None
    decode_repeats: int | None
    cpu_share: float | None  # CPU seconds per second of decoding
    state_bytes: int | None  # of one sequence, after the context


class Directions(Strict):
    """A training step that sees no later token beside one that sees all, of the same mechanism;
    medians over pairs of steps"""

    causal_step_s: float | None
    bidirectional_step_s: float | None
    causal_over_bidirectional: float | None  # of the pairs' ratios, with their quartiles
    causal_over_bidirectional_low: float | None
    causal_over_bidirectional_high: float | None
    pairs: int | None


class PointRecord(Provenance):
    """What the records of speed and of memory share"""

    experiment: str
    protocol: str
    task: str  # whose encoder and options the model has
    model: str
    setting: str  # fast, or one of the experiment's profile.variants
    mechanism: str
    length: int
    batch_size: int
    threads: int
    precision: str
    deterministic: bool  # kernels
    tf32: bool  # matrix products
    compile: bool = False  # the blocks, by torch.compile
    masks: bool  # with a mask; all tokens are real
    sizes: str  # of the encoder
    point: str | None = None  # checksum of all that it was measured with
    params: int
    status: Status
    reason: str | None


class SpeedRecord(Speeds, PointRecord):
    """profile/speed/<row>/<length>.json"""

    gpu: GpuUse | None = None


class MemoryRecord(Peaks, PointRecord):
    """profile/memory/<row>/<length>.json"""


class DecodeRecord(Decodings, PointRecord):
    """profile/decode/<model>/<context>.json"""


class DirectionsRecord(Directions, PointRecord):
    """profile/directions/<model>/<length>.json"""


class PointRow(Strict):
    """What the rows of speed and of memory share; older tables lack what may be null"""

    experiment: str
    protocol: str | None = None
    task: str | None = None
    model: str
    setting: str | None = None
    length: int
    batch_size: int
    precision: str | None = None
    deterministic: bool | None = None
    tf32: bool | None = None
    compile: bool | None = None
    masks: bool | None = None
    sizes: str | None = None
    device: str
    torch_version: str | None = None
    status: Status


class SpeedRow(Speeds, PointRow):
    """speed.parquet"""

    params: int | None = None


class MemoryRow(Peaks, PointRow):
    """memory.parquet"""


class DecodeRow(Decodings, PointRow):
    """decode.parquet; `length` is the context"""

    mechanism: str
    threads: int
    reason: str | None


class DirectionsRow(Directions, PointRow):
    """directions.parquet"""

    mechanism: str
    threads: int
    reason: str | None


class PointKind(NamedTuple):
    """What a profile measures of a point"""

    record: type[PointRecord]
    row: type[PointRow]
    value: str  # that an ok record must have


POINT_KINDS = {
    "speed": PointKind(SpeedRecord, SpeedRow, "train_steps_per_s"),
    "memory": PointKind(MemoryRecord, MemoryRow, "peak_bytes"),
}
DECODE_KINDS = {
    "decode": PointKind(DecodeRecord, DecodeRow, "decode_tokens_per_s"),
    "directions": PointKind(DirectionsRecord, DirectionsRow, "causal_over_bidirectional"),
}
KINDS = POINT_KINDS | DECODE_KINDS


def read_fast(path: Path, row: type[PointRow]) -> list[dict]:
    """The rows of speed.parquet or memory.parquet that every model has: of the setting `fast`.

    Raises LRAError naming the file where it is no such table.
    """
    rows = read_table(path, row).to_pylist()
    return [row for row in rows if row["setting"] in (None, FAST)]


def busy(row: dict) -> bool:
    """Whether something else used the machine while this speed was measured, see BUSY."""
    value, low, high = (row.get(f"train_steps_per_s{end}") for end in ("", "_low", "_high"))
    apart = None not in (value, low, high) and high - low > MOST_APART * value
    return apart or (row.get("cpu_share") is not None and row["cpu_share"] < LEAST_CPU)


def setting_text(row: dict) -> str:
    """fast kernels, float32"""
    kernels = {True: "deterministic", False: "fast", None: "unrecorded"}[row["deterministic"]]
    kernels += " compiled" if row.get("compile") else ""
    precision = "TF32" if row["tf32"] else row["precision"] or "unrecorded precision"
    return f"{kernels} kernels, {precision}"
