"""Speed and memory of one (model, setting, length), each measured in a process of its own.

Inputs are random tokens at full length, so that nothing but the encoder is timed. Where the task's
batches have a mask, these have one, too, in which every token is real. Kernels are those that torch
takes unless told otherwise; trainings take deterministic ones, which a setting may ask for.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from lra.config.cell import ProfilePoint
from lra.hardware.device import (
    choose_device,
    choose_kernels,
    device_name,
    has_tf32,
    is_out_of_memory,
    synchronise,
    unknown_energy,
)
from lra.models.classifier import Classifier, parameter_count, without_memory
from lra.models.compiled import as_written, compile_blocks
from lra.models.flops import flops, is_kernel, tensors
from lra.training.optimizer import AdamW

WARM_UP = 2  # steps: the first ones allocate, choose kernels and fill caches
REPEATS = 5  # at most, in which the seconds of a profile are split
FEWEST = 3  # repeats, however long a step takes


Measured = dict[str, Any]  # status, reason, params and, where ok, fields of results/points.py


class Workload:
    """A model with an optimiser and one batch of random tokens."""

    def __init__(self, point: ProfilePoint, device: torch.device) -> None:
        self.point, self.device = point, device
        torch.manual_seed(0)
        encoder = point.encoder
        self.model = Classifier(encoder).to(device)
        if point.compile:
            compile_blocks(self.model)
        self.optimizer = AdamW(self.model.named_parameters())
        shape = (point.batch_size, encoder.towers, point.length)
        self.tokens = torch.randint(1, encoder.vocab_size, shape, dtype=torch.int32, device=device)
        self.mask = torch.ones(shape, dtype=torch.bool, device=device) if point.masks else None
        self.labels = torch.zeros(point.batch_size, dtype=torch.long, device=device)
        self.trained = 0  # steps

    def scores(self) -> Tensor:
        half = self.point.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            return self.model(self.tokens, self.mask).float()

    def backward(self) -> None:
        self.model.loss(cross_entropy(self.scores(), self.labels)).backward()

    def train_step(self) -> None:
        self.backward()
        self.optimizer.step(1e-4)
        self.optimizer.zero_grad()
        self.trained += 1

    @torch.no_grad()
    def infer_step(self) -> None:
        self.scores()


def speed(point: ProfilePoint, joules: Callable[[], float | None] = unknown_energy) -> Measured:
    """Steps per second of training (forward, backward, update) and of inference, over repeats.

    joules: used by the device since the process began; their mean over all training steps counts.
    """

    def measure(load: Workload) -> dict[str, float | None]:
        before = joules()
        training = repeated(load.train_step, load.model.train(), point.seconds, load.device)
        after = joules()
        known = None not in (before, after)
        inference = repeated(load.infer_step, load.model.eval(), point.seconds, load.device)
        return {
            "train_steps_per_s": training.median,
            "train_steps_per_s_low": min(training.rates),
            "train_steps_per_s_high": max(training.rates),
            "infer_steps_per_s": inference.median,
            "infer_steps_per_s_low": min(inference.rates),
            "infer_steps_per_s_high": max(inference.rates),
            "repeats": len(training.rates),
            "cpu_share": training.cpu_share if load.device.type == "cpu" else None,
            "tokens_per_s": load.tokens.numel() * training.median,
            "joules_per_step": (after - before) / load.trained if known else None,
            **step_work(load),
        }

    return _guarded(point, measure)


def memory(point: ProfilePoint) -> Measured:
    """High-water mark of tensor bytes over two training steps, and of the process.

    CUDA: the allocator's peak. CPU: the running sum of the allocator's events, temporaries inside
    operators included, from before the model exists. The second step is the one that counts: it
    holds the optimiser's state, too.
    """

    def measure(load: Workload) -> dict[str, int]:
        for _ in range(2):
            load.train_step()
        if load.device.type == "cuda":
            return {"peak_bytes": torch.cuda.max_memory_allocated(load.device)}
        return {}

    if choose_device(point.device).type == "cuda":
        measured = _guarded(point, measure)
    else:
        with torch.autograd.profiler.profile(use_cpu=True, profile_memory=True) as profiler:
            measured = _guarded(point, measure)
        if measured["status"] == "ok":
            measured["peak_bytes"] = high_water_mark(profiler)
    if measured["status"] == "ok":
        measured["process_bytes"] = peak_resident_bytes()
    return measured


def _guarded(point: ProfilePoint, measure: Callable[[Workload], dict]) -> Measured:
    """`measure` on a fresh workload, or why not: too little memory, or no TF32 on this device."""
    choose_kernels(point.threads, point.deterministic, point.tf32)
    device = choose_device(point.device)
    if point.tf32 and not has_tf32(device):
        return _unmeasured(point, "unsupported", f"{device_name(device)} has no TF32")
    try:
        load = Workload(point, device)
        known = {"status": "ok", "reason": None, "params": parameter_count(load.model)}
        return known | measure(load)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return _unmeasured(point, "oom", str(error).splitlines()[0])


def _unmeasured(point: ProfilePoint, status: str, reason: str) -> Measured:
    params = parameter_count(without_memory(point.encoder))
    return {"status": status, "reason": reason, "params": params}


class Repeated(NamedTuple):
    rates: list[float]  # steps per second of each repeat
    cpu_share: float  # CPU seconds of all threads per second

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


def repeated(
    step: Callable[[], None], model: nn.Module, seconds: float, device: torch.device
) -> Repeated:
    """Run steps for `seconds` in up to five repeats; where steps are long, in three or more."""
    for _ in range(WARM_UP):
        step()
    synchronise(device)
    rates: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    now = began
    while len(rates) < FEWEST or (len(rates) < REPEATS and now - began < seconds):
        start, steps = now, 0
        while not steps or now - start < seconds / REPEATS:
            step()
            synchronise(device)
            steps, now = steps + 1, time.perf_counter()
        rates.append(steps / (now - start))
    return Repeated(rates, (time.process_time() - cpu) / (now - began))


class WorkCounter(TorchDispatchMode):
    """FLOPs and kernels of all operators. torch's FlopCounterMode imports dynamo: seconds a job."""

    flops = kernels = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.flops += flops(func, args, kwargs, out)
        given, made = tensors((args, kwargs)), tensors(out)
        self.kernels += is_kernel(func, given, made)
        return out


def step_work(load: Workload) -> dict[str, int]:
    """Floating-point operations and kernels of one forward and backward pass (lra.models.flops).

    What the backward pass computes again counts again; the optimiser's update does not count. Of
    compiled blocks it is the work as they are written.
    """
    with as_written(load.point.compile), WorkCounter() as counter:
        load.model.train()
        load.backward()
    load.optimizer.zero_grad()
    return {"flops_per_step": counter.flops, "kernels_per_step": counter.kernels}


def high_water_mark(profiler: torch.autograd.profiler.profile) -> int:
    """The largest sum of allocated bytes in a profile's memory events."""
    events = profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def peak_resident_bytes() -> int:
    """Of this process since its start."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
