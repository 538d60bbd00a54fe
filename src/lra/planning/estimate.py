"""What the cells of an experiment will cost, before they run: memory, time, disk.

A cell's load (model and batch sizes) is measured once on torch's fake tensors (footprint.py) and
kept in config/reference/estimates.csv; planning only reads that, so it needs no torch. Time is the
slowest of arithmetic, memory traffic and starting kernels, on the machine that the experiment's
`estimate:` section assumes. Where results/<experiment>/speed.parquet has the model's speed, time is
scaled by how far that machine was from this figure there. Sequences count at full length.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from functools import cached_property
from pathlib import Path

from lra.config.cell import Cell, Encoder, Precision, ProfilePoint
from lra.config.resolve import Arena
from lra.config.schema import Estimate
from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.data.recipe import Dataset

CACHE = "config/reference/estimates.csv"
PADDED = {"listops", "text", "retrieval"}  # tasks whose batches have masks
GB = 1e9
FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Load:
    """All that a footprint depends on, besides code."""

    encoder: Encoder
    batch_size: int
    eval_batch_size: int
    pads: bool  # batches come with masks
    precision: Precision
    cpu: bool  # surely on a CPU, whose fused attention cannot drop

    @classmethod
    def of_cell(cls, cell: Cell) -> Load:
        training = cell.training
        return cls(
            cell.encoder,
            training.batch_size,
            training.eval_batch_size,
            cell.task in PADDED,
            training.precision,
            cell.device == "cpu",
        )

    @classmethod
    def of_point(cls, point: ProfilePoint) -> Load:
        size = point.batch_size
        return cls(point.encoder, size, size, False, point.precision, point.device == "cpu")

    @cached_property
    def key(self) -> str:
        """16 hex digits. Values that are the class's defaults are left out, so that a new field
        with a default keeps the keys of before."""
        encoder = self.encoder.model_dump(mode="json", exclude_defaults=True)
        rest = [self.batch_size, self.eval_batch_size, self.pads, self.precision, self.cpu]
        text = json.dumps([encoder, *rest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Footprint:
    """Of one training step and one evaluation batch; see `footprint.Ledger` for the units."""

    params: int
    train_flops: int
    train_traffic: int  # bytes read and written
    train_kernels: int
    train_bytes: int  # largest sum of tensors alive
    eval_flops: int
    eval_traffic: int
    eval_kernels: int
    eval_bytes: int


@dataclass(frozen=True)
class Costs:
    """One cell's estimate."""

    params: int
    teraflops: float  # of one training step
    peak_bytes: float  # tensors on the device, the data set among them
    fits: bool
    hours: float  # of one seed, evaluation included
    basis: str | None  # what was measured for the hours; None: the assumed machine alone


def read_cache(path: Path) -> dict[str, Footprint]:
    """By key; raises LRAError naming the file where it is no such table."""
    if not path.exists():
        return {}
    names = [field.name for field in fields(Footprint)]
    try:
        lines = csv.DictReader(path.read_text().splitlines())
        return {line["key"]: Footprint(*(int(line[name]) for name in names)) for line in lines}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise LRAError(f"{path}: not a table of estimates ({error!r}); delete it") from None


def add_to_cache(path: Path, found: list[tuple[Load, Footprint]]) -> None:
    """Append rows; a person reads model, length and batch, the pipeline the key."""
    described = ["attention", "max_len", "batch_size"]
    header = ["key", *described, *(field.name for field in fields(Footprint))]
    text = path.read_text() if path.exists() else ",".join(header) + "\n"
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    for load, figures in found:
        encoder = load.encoder
        about = (load.key, encoder.attention, encoder.max_len, load.batch_size)
        writer.writerow([*about, *astuple(figures)])
    write_beside(path, (text + sink.getvalue()).encode())


def loads(arena: Arena) -> list[Load]:
    """Of the experiment's cells and of its models' profile points, each once."""
    experiment = arena.experiment
    cells = (
        Load.of_cell(arena.resolve(task, model, experiment.seeds[0])[0])
        for task in experiment.tasks
        for model in experiment.models
    )
    points = (
        Load.of_point(arena.profile_point(model, length))
        for model in experiment.models
        for length in experiment.profile.lengths
    )
    return list({load.key: load for load in (*cells, *points)}.values())


def seconds(flops: int, traffic: int, kernels: int, machine: Estimate) -> float:
    """Of one step on a machine that does one of the three at a time, and hides the others."""
    return max(
        flops / (machine.teraflops * 1e12),
        traffic / (machine.bandwidth_gb_s * GB),
        kernels * machine.kernel_us * 1e-6,
    )


def train_seconds(figures: Footprint, machine: Estimate) -> float:
    return seconds(figures.train_flops, figures.train_traffic, figures.train_kernels, machine)


def eval_seconds(figures: Footprint, machine: Estimate) -> float:
    return seconds(figures.eval_flops, figures.eval_traffic, figures.eval_kernels, machine)


def dataset_bytes(dataset: Dataset, encoder: Encoder, examples: int, wide: int) -> int:
    """Of `examples` at full length; a token takes a byte, or `wide` where the vocabulary needs
    it; offsets, lengths and labels 24 bytes an example."""
    token = 1 if encoder.vocab_size <= 256 else wide
    return examples * (dataset.max_len * encoder.towers * token + 24)


class Estimates:
    """An experiment's costs from the cache, and from the speeds that it has measured so far."""

    def __init__(self, arena: Arena, cache: dict[str, Footprint], results: Path) -> None:
        self.arena, self.cache = arena, cache
        self.machine = arena.experiment.estimate
        self.speeds = measured_speeds(results / arena.experiment.experiment / "speed.parquet")

    def costs(self, cell: Cell) -> Costs | None:
        """None: its load has not been measured."""
        figures = self.cache.get(Load.of_cell(cell).key)
        if figures is None:
            return None
        machine, training = self.machine, cell.training
        dataset = self.arena.dataset(cell.dataset)
        evaluations = -(-training.steps // training.eval_every)
        batches = evaluations * math.ceil(dataset.val / training.eval_batch_size)
        batches += math.ceil(dataset.test / training.eval_batch_size)
        slower, basis = self.slowdown(cell)
        time = training.steps * train_seconds(figures, machine)
        time += batches * eval_seconds(figures, machine)
        data = dataset_bytes(dataset, cell.encoder, dataset.train + dataset.val, 4)
        peak = max(figures.train_bytes, figures.eval_bytes) + data
        return Costs(
            params=figures.params,
            teraflops=figures.train_flops / 1e12,
            peak_bytes=peak,
            fits=peak <= machine.device_memory_gb * GB,
            hours=slower * time / 3600,
            basis=basis,
        )

    def slowdown(self, cell: Cell) -> tuple[float, str | None]:
        """How many times longer the model's profiled step took than `seconds` says, at the length
        nearest to the cell's; 1 where none was profiled."""
        lengths = [length for model, length in self.speeds if model == cell.model]
        for length in sorted(lengths, key=lambda n: abs(math.log(n / cell.encoder.max_len))):
            point = self.arena.profile_point(cell.model, length)
            figures = self.cache.get(Load.of_point(point).key)
            speed, batch_size, device = self.speeds[cell.model, length]
            if figures and batch_size == point.batch_size:
                expected = train_seconds(figures, self.machine)
                return 1 / speed / expected, f"measured at {length:,} tokens on {device}"
        return 1.0, None

    def disk_bytes(self, tasks: Iterable[str], cells: Iterable[Cell]) -> tuple[int, int]:
        """Of the tasks' data sets, and of the cells' checkpoints."""
        data = {}
        for task in tasks:
            cell, _ = self.arena.resolve(task, self.arena.experiment.models[0], 0)
            entry = self.arena.dataset(cell.dataset)
            examples = entry.train + entry.val + entry.test
            data[cell.dataset] = dataset_bytes(entry, cell.encoder, examples, 2)
        found = (self.cache.get(Load.of_cell(cell).key) for cell in cells)
        return sum(data.values()), sum(FLOAT * figures.params for figures in found if figures)

    def assumed(self) -> str:
        m = self.machine
        return (
            f"{m.teraflops:g} TFLOP/s, {m.bandwidth_gb_s:g} GB/s, {m.kernel_us:g} us a kernel: "
            "assumed, not measured"
        )


def measured_speeds(path: Path) -> dict[tuple[str, int], tuple[float, int, str]]:
    """(model, length) -> (training steps/s, batch size, device) of a speed.parquet, if there."""
    if not path.exists():
        return {}
    from lra.results.records import SpeedRow, read_table  # pyarrow: only where there is a table

    return {
        (r["model"], r["length"]): (r["train_steps_per_s"], r["batch_size"], r["device"])
        for r in read_table(path, SpeedRow).to_pylist()
        if r["status"] == "ok"
    }


def summary(estimates: Estimates, cells: list[Cell]) -> str:
    """A few lines for the plan: these cells' hours and disk, and which are expected not to fit."""
    costs = {cell.name: estimates.costs(cell) for cell in cells}
    known = [c for c in costs.values() if c]
    hours = sum(c.hours for c in known if c.fits)
    measured = sum(c.basis is not None for c in known)
    tasks = dict.fromkeys(cell.task for cell in cells)
    data, checkpoints = estimates.disk_bytes(tasks, cells)
    kind = "CPU" if estimates.arena.experiment.device == "cpu" else "GPU"
    lines = [
        "Estimate of the cells to train, sequences at full length",
        f"  cells      {len(cells):,}",
        f"  {kind}-hours  {hours:,.2g}" if hours < 100 else f"  {kind}-hours  {hours:,.0f}",
    ]
    if measured < len(known):
        rest = f"{len(known) - measured:,} cells: " if measured else ""
        lines[-1] += f" ({rest}{estimates.assumed()})"
    if measured:
        lines.append(f"             {measured:,} cells by their models' measured speeds")
    lines.append(f"  disk       {data / GB:,.2g} GB data, {checkpoints / GB:.2g} GB checkpoints")
    memory = estimates.machine.device_memory_gb
    pairs = {}
    for cell in cells:
        if (cost := costs[cell.name]) and not cost.fits:
            pairs[f"{cell.task}/{cell.model}"] = f"{cost.peak_bytes / GB:,.0f} GB"
    if pairs:
        named = ", ".join(f"{pair} (about {size})" for pair, size in pairs.items())
        lines.append(f"  too large  {named}: of {memory:g} GB; expect status oom, no hours counted")
    if missing := len(cells) - len(known):
        where = estimates.arena.where
        lines.append(f"  unknown    {missing:,} cells: lra estimate {where} --write {CACHE}")
    return "\n".join(lines)


def table(estimates: Estimates) -> str:
    """One line per (task, model) of the experiment, then the plan's summary of all its cells."""
    experiment = estimates.arena.experiment
    head = f"{'task/model':32}{'params':>13}{'TFLOP/step':>13}{'peak GB':>10}  fits  hours/seed"
    lines = [head]
    cells = []
    for task in experiment.tasks:
        for model in experiment.models:
            same = [estimates.arena.resolve(task, model, seed)[0] for seed in experiment.seeds]
            cells += same
            cost = estimates.costs(same[0])
            if cost is None:
                lines.append(f"{task + '/' + model:32}{'not estimated':>13}")
                continue
            lines.append(
                f"{task + '/' + model:32}{cost.params:13,}{cost.teraflops:13.4f}"
                f"{cost.peak_bytes / GB:10.2f}  {'yes' if cost.fits else 'no':4}{cost.hours:12.3g}"
                f"  {cost.basis or 'assumed machine'}"
            )
    return "\n".join([*lines, "", summary(estimates, cells)])
