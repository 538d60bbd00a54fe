"""`lra` as processes of their own: run to the end, or started and disturbed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd

import warm
from lra.config.cell import Cell
from tiny import ROOT

# Without memory for much more than to start: a limit cannot be lifted again, so in its own process.
LIMITED = """
import resource
import psutil, torch
from lra.cli import __main__
from lra.training import loop
limit = psutil.Process().memory_info().vms + {room}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
__main__.main()
"""


def environment(source: Path = ROOT) -> dict[str, str]:
    """That of this process, with `lra` from a checkout."""
    return {**os.environ, "PYTHONPATH": str(source / "src")}


def lra(*arguments: object) -> subprocess.CompletedProcess:
    command = [warm.python(), "-m", "lra.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def limited(room: int, *arguments: object) -> subprocess.CompletedProcess:
    """`lra` with so many bytes of memory beyond what it needs to start."""
    command = [sys.executable, "-c", LIMITED.format(room=room), *map(str, arguments)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True)


def train_arguments(cell: Cell, data: Path, out: Path) -> list[str]:
    return ["train", "--cell", cell.model_dump_json(), "--data", str(data), "--out", str(out),
            "--work", str(out / "work")]  # fmt: skip


def start(cell: Cell, data: Path, out: Path, save_seconds: float = 30) -> subprocess.Popen:
    """`lra train`, which goes on beside the test."""
    command = [warm.python(), "-m", "lra.cli", *train_arguments(cell, data, out)]
    command += ["--save-seconds", str(save_seconds)]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> str:
    """What it said."""
    _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def wait_for(path: Path, process: subprocess.Popen) -> int:
    """Until the process has written the file: when, in nanoseconds."""
    while True:
        with suppress(FileNotFoundError):
            return path.stat().st_mtime_ns
        if process.poll() is not None:
            said = process.stderr.read() if process.stderr else "see its log"
            raise AssertionError(f"it ended without {path}: {said}")
        time.sleep(0.01)


def results(out: Path) -> tuple[bytes, pd.DataFrame]:
    """The checkpoint's bytes, and the history without its clock."""
    history = pd.read_parquet(out / "history.parquet").drop(columns="seconds")
    return (out / "checkpoint.safetensors").read_bytes(), history


def same(one: Path, two: Path) -> None:
    (bytes_one, history_one), (bytes_two, history_two) = results(one), results(two)
    assert bytes_one == bytes_two
    pd.testing.assert_frame_equal(history_one, history_two, check_exact=True)
