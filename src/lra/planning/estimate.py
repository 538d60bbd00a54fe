"""What the cells of an experiment will cost, before they run: memory, time, disk.

A cell's load (model and batch sizes) is measured once on torch's fake tensors (footprint.py) and
kept in config/reference/estimates.csv. Planning reads only that file, so it needs no torch. The
time of a step is the longest of three: arithmetic, memory traffic and starting kernels, each on the
machine that the experiment's `estimate:` section assumes. Where results/<experiment>/speed.parquet
has the model's speed, times are scaled by measured over assumed. All sequences count at full
length.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from lra.config.cell import PADDED, Cell, Encoder, Precision, PretrainingCell, ProfilePoint
from lra.config.rates import unswept
from lra.config.resolve import Arena
from lra.config.schema import Estimate, Experiment
from lra.core.errors import LRAError
from lra.core.files import text_of, write_beside
from lra.core.formats import BYTES, elapsed, listed, number
from lra.core.unique import unique
from lra.data.recipe import Dataset
from lra.planning.measured import measured_speeds

CACHE = "config/reference/estimates.csv"
GB = BYTES["GB"]
FLOAT = 4  # bytes of a float32
MANY = 50  # cells of a plan that nobody reads to its end


@dataclass(frozen=True)
class Load:
    """All that a footprint depends on, apart from code."""

    encoder: Encoder
    batch_size: int
    eval_batch_size: int
    pads: bool  # batches come with masks
    precision: Precision
    cpu: bool  # certainly on a CPU, whose fused attention has no dropout
    objective: str | None = None  # of a pretraining, or of tokens

    @classmethod
    def of_cell(cls, cell: Cell) -> Load:
        training = cell.training
        return cls(
            cell.encoder,
            training.batch_size,
            training.eval_batch_size,
            (cell.variant_of or cell.task) in PADDED,
            training.precision,
            cell.device == "cpu",
            None if training.objective == "classify" else training.objective,
        )

    @classmethod
    def of_point(cls, point: ProfilePoint) -> Load:
        size = point.batch_size
        return cls(point.encoder, size, size, point.masks, point.precision, point.device == "cpu")

    @cached_property
    def key(self) -> str:
        """16 hex digits. Defaults of the encoder are left out, so that a new field with a default
        changes no key."""
        encoder = self.encoder.model_dump(mode="json", exclude_defaults=True)
        rest = [self.batch_size, self.eval_batch_size, self.pads, self.precision, self.cpu]
        if self.objective:
            rest.append(self.objective)
        text = json.dumps([encoder, *rest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class Work(NamedTuple):
    """Of one step, see `footprint.Ledger`."""

    flops: int
    traffic: int  # bytes read and written
    kernels: int
    bytes: int  # of all tensors, at the peak

    def seconds(self, machine: Estimate) -> float:
        """On a machine that computes, moves bytes and starts kernels at the same time."""
        return max(
            self.flops / (machine.teraflops * 1e12),
            self.traffic / (machine.bandwidth_gb_s * GB),
            self.kernels * machine.kernel_us * 1e-6,
        )


class Footprint(NamedTuple):
    params: int
    train: Work  # of one training step
    eval: Work  # of one evaluation batch


COLUMNS = ["params", *(f"{step}_{name}" for step in ("train", "eval") for name in Work._fields)]


@dataclass(frozen=True)
class Costs:
    """One cell's estimate."""

    params: int
    teraflops: float  # of one training step
    peak_bytes: float  # of tensors on the device, data set included
    fits: bool
    hours: float  # of one seed, evaluation included
    basis: str | None  # the measurement that the hours rest on; None: the assumed machine


def read_cache(path: Path) -> dict[str, Footprint]:
    """Footprints by `Load.key`; raises LRAError naming the file where it is no such table."""
    if not path.exists():
        return {}
    found = {}
    text = text_of(path)
    try:
        for line in csv.DictReader(text.splitlines()):
            params, *values = (int(line[name]) for name in COLUMNS)
            found[line["key"]] = Footprint(params, Work(*values[:4]), Work(*values[4:]))
    except (KeyError, TypeError, ValueError) as error:
        raise LRAError(f"{path}: not a table of estimates ({error!r}); delete it") from None
    return found


def add_to_cache(path: Path, found: list[tuple[Load, Footprint]]) -> None:
    """Append rows; the pipeline finds them by key, the next three columns are for people."""
    header = ["key", "attention", "max_len", "batch_size", *COLUMNS]
    text = path.read_text(encoding="utf-8") if path.exists() else ",".join(header) + "\n"
    for load, step in found:
        about = (load.key, load.encoder.attention, load.encoder.max_len, load.batch_size)
        text += ",".join(map(str, (*about, step.params, *step.train, *step.eval))) + "\n"
    write_beside(path, text.encode())


def loads(arena: Arena) -> list[Load]:
    """Those of the experiment's cells and of its models' profile points, each once."""
    experiment = arena.experiment
    cells = [
        arena.resolve(task, model, experiment.seeds[0])[0]
        for task in experiment.tasks
        for model in experiment.models
    ]
    cells += [cell.pretraining_cell for cell in cells if cell.pretraining]
    points = (
        Load.of_point(arena.profile_point(model, length))
        for model in experiment.models
        for length in experiment.profile.lengths
    )
    every = (*map(Load.of_cell, cells), *points)
    return list({load.key: load for load in every}.values())


def dataset_bytes(dataset: Dataset, encoder: Encoder, examples: int, wide: int) -> int:
    """Of `examples` at full length: a byte a token, or `wide` bytes for a vocabulary above 256;
    offsets, lengths and labels take 24 bytes an example."""
    token = 1 if encoder.vocab_size <= 256 else wide
    return examples * (dataset.max_len * encoder.towers * token + 24)


def device_kind(experiment: Experiment, has_gpu: bool = True) -> str:
    """What trains: `device: auto` takes the CPU where there is no GPU."""
    is_cpu = experiment.device == "cpu" or (experiment.device == "auto" and not has_gpu)
    return "CPU" if is_cpu else "GPU"


class Here(NamedTuple):
    """Of the plan that is made."""

    changes: tuple[str, ...] = ()  # KEY=VALUE of Snakemake's --config
    has_gpu: bool = True  # a GPU, or Slurm, which may have some


HERE = Here()


class Estimates:
    """An experiment's costs, from the cache and from the speeds that it has measured so far."""

    def __init__(self, arena: Arena, cache: dict[str, Footprint], results: Path) -> None:
        self.arena, self.cache = arena, cache
        self.machine = arena.experiment.estimate
        self.speeds = measured_speeds(results / arena.experiment.experiment / "speed.parquet")

    def costs(self, cell: Cell) -> Costs | None:
        """None where the cell's load has not been measured."""
        step = self.cache.get(Load.of_cell(cell).key)
        if step is None:
            return None
        training, dataset = cell.training, self.arena.dataset(cell.dataset)
        evaluations = -(-training.steps // training.eval_every)
        batches = evaluations * math.ceil(dataset.val / training.eval_batch_size)
        if not isinstance(cell, PretrainingCell):
            draws = training.draws if training.objective == "masked" else 1
            batches += draws * math.ceil(dataset.test / training.eval_batch_size)
        slower, basis = self.slowdown(cell)
        time = training.steps * step.train.seconds(self.machine)
        time += batches * step.eval.seconds(self.machine)
        data = dataset_bytes(dataset, cell.encoder, dataset.train + dataset.val, 4)
        peak = max(step.train.bytes, step.eval.bytes) + data
        return Costs(
            params=step.params,
            teraflops=step.train.flops / 1e12,
            peak_bytes=peak,
            fits=peak <= self.machine.device_memory_gb * GB,
            hours=slower * time / 3600,
            basis=basis,
        )

    def slowdown(self, cell: Cell) -> tuple[float, str | None]:
        """Measured over assumed time of the model's profiled step, at the length nearest to the
        cell's, and what was measured; 1 and None where nothing was."""
        own, _ = unswept(cell.model)
        lengths = [length for model, length in self.speeds if model == own]
        for length in sorted(lengths, key=lambda n: abs(math.log(n / cell.encoder.max_len))):
            point = self.arena.profile_point(own, length)
            step = self.cache.get(Load.of_point(point).key)
            speed, batch_size, how = self.speeds[own, length]
            if step and batch_size == point.batch_size:
                expected = step.train.seconds(self.machine)
                return 1 / speed / expected, f"measured at {length:,} tokens on {how}"
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
        return sum(data.values()), sum(FLOAT * step.params for step in found if step)

    def assumed(self) -> str:
        m = self.machine
        return (
            f"{m.teraflops:g} TFLOP/s, {m.bandwidth_gb_s:g} GB/s, {m.kernel_us:g} us a kernel: "
            "assumed, not measured"
        )


def summary(
    estimates: Estimates,
    cells: list[Cell],
    here: Here = HERE,
    pretrainings: Sequence[PretrainingCell] = (),
) -> str:
    """A few lines for the plan: time and disk of these cells, and which will not fit in memory.

    pretrainings: those that will run, too.
    """
    count, cells = len(cells), [*pretrainings, *cells]
    experiment = estimates.arena.experiment
    kind = device_kind(experiment, here.has_gpu)
    costs = {cell.name: estimates.costs(cell) for cell in cells}
    known = [cost for cost in costs.values() if cost]
    time = elapsed(3600 * sum(cost.hours for cost in known if cost.fits))
    lines = [
        "Estimate of the cells to train, sequences at full length",
        f"  cells      {count:,}",
        f"  {kind} time   {time}",
    ]
    if pretrainings:
        steps = sum(each.training.steps for each in pretrainings)
        own = [cost.hours for each in pretrainings if (cost := costs[each.name]) and cost.fits]
        part = f", {elapsed(3600 * sum(own))} of it" if own else ""
        lines.insert(2, f"  pretrained {len(pretrainings):,} first, {steps:,} steps{part}")
    measured = sum(cost.basis is not None for cost in known)
    if measured < len(known):
        rest = f"{len(known) - measured:,} cells: " if measured else ""
        lines[-1] += f" ({rest}{estimates.assumed()})"
    if measured:
        lines.append(f"             {measured:,} cells by their models' measured speeds")
    if kind == "CPU" and experiment.device == "auto":
        lines.append("  device     auto: no GPU here; the CPU trains, not what the hours assume")
    if kind == "CPU" and experiment.precision == "bfloat16":
        lines.append("  precision  bfloat16: about four times slower than float32 on a CPU")
    disk = estimates.disk_bytes(unique(cell.task for cell in cells), cells)
    data, checkpoints = (number(size, GB, digits=2) for size in disk)
    lines.append(f"  disk       {data} GB data, {checkpoints} GB checkpoints")
    large = unique(  # one for all seeds
        f"{cell.task}/{cell.model} (about {cost.peak_bytes / GB:,.0f} GB)"
        for cell in cells
        if (cost := costs[cell.name]) and not cost.fits
    )
    if large:
        memory = f"{estimates.machine.device_memory_gb:g} GB"
        lines.append(
            f"  too large  {listed(large)}: of {memory}; expect status oom, no hours counted"
        )
    if missing := len(cells) - len(known):
        changes = [f"--config={change}" for change in here.changes]
        words = ["lra", "estimate", estimates.arena.where, "--write", CACHE, *changes]
        lines.append(f"  unknown    {missing:,} cells: {shlex.join(words)}")
    if len(cells) > MANY:
        lines.append("  this alone, without a line for each job: snakemake -n --quiet rules ...")
    return "\n".join(lines)


def table(estimates: Estimates) -> str:
    """A line for each (task, model) and for its pretraining, then `summary` of all cells."""
    experiment = estimates.arena.experiment
    lines = [f"{'task/model':32}{'params':>13}{'TFLOP/step':>13}{'peak GB':>10}  fits  hours/seed"]
    cells, pretrainings = [], []
    for task in experiment.tasks:
        for model in experiment.trained:
            same = [estimates.arena.resolve(task, model, seed)[0] for seed in experiment.seeds]
            cells += same
            lines.append(_line(f"{task}/{model}", estimates.costs(same[0])))
            if same[0].pretraining:
                own = [cell.pretraining_cell for cell in same]
                pretrainings += own
                lines.append(_line("  its pretraining", estimates.costs(own[0])))
    return "\n".join([*lines, "", summary(estimates, cells, HERE, pretrainings)])


def _line(name: str, cost: Costs | None) -> str:
    if cost is None:
        return f"{name:32}{'not estimated':>13}"
    return (
        f"{name:32}{cost.params:13,}{cost.teraflops:13.4f}"
        f"{cost.peak_bytes / GB:10.2f}  {'yes' if cost.fits else 'no':4}{cost.hours:12.3g}"
        f"  {cost.basis or 'assumed machine'}"
    )
