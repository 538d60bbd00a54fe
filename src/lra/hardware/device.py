"""The device of a job: choice, name, deterministic mode, out-of-memory errors."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from lra.core.errors import LRAError

EXHAUSTED = ("DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")


def choose_device(device: str) -> torch.device:
    """`auto` is a GPU where torch sees one, else the CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise LRAError("device: cuda is asked for, but torch sees no GPU; set device: auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def device_name(device: torch.device) -> str:
    """For example `cuda: NVIDIA H100` or `cpu: AMD EPYC`."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"cpu: {models[0] if models else platform.processor() or platform.machine()}"


def make_repeatable(threads: int) -> None:
    """Deterministic kernels and a fixed number of threads, which changes the bits of sums."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # use_deterministic_algorithms(True) is the same, but imports torch's compiler: 1.3 s
    torch.set_deterministic_debug_mode("error")


def choose_kernels(threads: int, deterministic: bool, tf32: bool) -> None:
    """Those of trainings, or the fast ones that torch takes unless told otherwise.

    tf32: whether matrix products and convolutions of float32 tensors take it on a GPU.
    """
    if deterministic:
        make_repeatable(threads)
    else:
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("default")
    torch.backends.cudnn.benchmark = not deterministic  # tries convolutions, takes the fastest
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32


def has_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def is_out_of_memory(error: BaseException) -> bool:
    """torch's CUDA allocator raises its own class, other allocators a RuntimeError that says so."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in EXHAUSTED)
    )


def unknown_energy() -> None:
    """Default energy reader: None where the device reports none."""
