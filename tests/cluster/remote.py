"""A checkout whose snakemake submits to a Slurm of this host."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import yaml
from slurm import OFTEN

from checkout import Checkout

SITE = {"account": "main", "cpu_partition": "cpu", "gpu_partition": "gpu", "max_memory_gb": 1.5,
        "max_hours": 0.5}  # fmt: skip
# one cell, long enough to be disturbed
CELL = "cells/listops/linear/seed1"
LONG = ["tasks=[listops]", "models=[linear]", "seeds=[1]", "device=auto",
        "overrides={training: {steps: 1500, eval_every: 500}}"]  # fmt: skip


class Remote(Checkout):
    """A checkout whose snakemake submits to the Slurm of the session."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.processes: list[subprocess.Popen] = []

    def site(self, **changed) -> None:
        self.write("config/site.yaml", yaml.safe_dump({**SITE, **changed}))

    def start(self, *arguments: str, targets=(), config: list[str] = LONG) -> subprocess.Popen:
        """snakemake --profile slurm; what it says is in run.log."""
        return self.snakemake_in_background([
            "--cores", "all", "--profile", "slurm", "--configfile", "config/tiny.yaml", *OFTEN,
            *arguments, "--config", *config, "--", *targets,
        ])  # fmt: skip

    def snakemake_in_background(self, arguments: list[str]) -> subprocess.Popen:
        command = [sys.executable, "-m", "snakemake", *arguments]
        environment = {**os.environ, "NO_COLOR": "1", "LRA_SAVE_SECONDS": "0.2"}
        with (self.folder / "run.log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def kill_all(self) -> None:
        """Every snakemake that a failed test left behind, so that none submits into the next test."""
        for process in self.processes:
            process.kill()
            process.wait()

    def pid_of_training(self, seed: str) -> int:
        """Of `lra train` in this checkout."""
        work = f"results/tiny/work/listops/linear/{seed}"
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode().split("\0")
                here = (process / "cwd").readlink() == self.folder
            except OSError:  # it has just ended
                continue
            if here and "train" in words[2:4] and work in words:
                return int(process.name)
        raise AssertionError("no training runs")

    def finish(self, process: subprocess.Popen, status: int = 0) -> str:
        """What all runs so far said."""
        code = process.wait()
        said = (self.folder / "run.log").read_text()
        assert code == status, said
        return said

    def train(self, *arguments: str) -> subprocess.Popen:
        return self.start(*arguments, targets=[self.record_name])

    record_name = f"results/tiny/{CELL}/train.json"

    @property
    def record(self) -> Path:
        return self.folder / self.record_name

    @property
    def state(self) -> Path:
        return self.folder / "results/tiny/work/listops/linear/seed1/state.pt"

    @property
    def saved_at(self) -> int:
        """When the training wrote its newest state, in ns; 0: there is none at this moment."""
        with suppress(FileNotFoundError):
            return self.state.stat().st_mtime_ns
        return 0

    @property
    def is_saved(self) -> bool:
        """Also in the moment in which one state has made room for the next."""
        return self.state.exists() or self.state.with_name("state.previous.pt").exists()

    @property
    def checkpoint(self) -> bytes:
        return (self.folder / f"results/tiny/{CELL}/checkpoint.safetensors").read_bytes()

    @property
    def said_by_training(self) -> str:
        log = self.folder / "results/tiny/logs/train/listops/linear/seed1.log"
        return log.read_text() if log.exists() else ""
