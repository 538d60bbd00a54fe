"""A checkout whose snakemake submits to a Slurm of this host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from checkout import Checkout

HERE = Path(__file__).parent
SITE = {"account": "main", "cpu_partition": "cpu", "gpu_partition": "gpu", "max_memory_gb": 1.0,
        "max_hours": 0.5}  # fmt: skip
# one cell, long enough to be disturbed
CELL = "cells/listops/linear/seed1"
LONG = ["tasks=[listops]", "models=[linear]", "seeds=[1]", "device=auto",
        "overrides={training: {steps: 1500, eval_every: 500}}"]  # fmt: skip


class Remote(Checkout):
    """A checkout whose snakemake submits to the Slurm of the session."""

    def site(self, **changed) -> None:
        self.write("config/site.yaml", yaml.safe_dump({**SITE, **changed}))

    def start(self, *arguments: str, targets=(), config: list[str] = LONG) -> subprocess.Popen:
        """snakemake --profile slurm; what it says is in run.log."""
        command = [
            sys.executable, "-m", "snakemake", "--cores", "all", "--profile", "slurm",
            "--configfile", "config/tiny.yaml", "--slurm-init-seconds-before-status-checks", "1",
            "--seconds-between-status-checks", "1", *arguments, "--config", *config, "--", *targets,
        ]  # fmt: skip
        path = f"{HERE / 'poll'}:{os.environ.get('PYTHONPATH', '')}"
        environment = {"NO_COLOR": "1", "PYTHONPATH": path, "LRA_TEST_POLL": "0.5",
                       "LRA_SAVE_SECONDS": "0.2"}  # fmt: skip
        with (self.folder / "run.log").open("a") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **environment}, stdout=log, stderr=log,
            )  # fmt: skip

    def finish(self, process: subprocess.Popen, status: int = 0, seconds: float = 400) -> str:
        """What all runs so far said."""
        code = process.wait(timeout=seconds)
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
    def is_saved(self) -> bool:
        """Also in the moment in which one state has made room for the next."""
        return self.state.exists() or self.state.with_name("state.previous.pt").exists()

    @property
    def checkpoint(self) -> bytes:
        return (self.folder / f"results/tiny/{CELL}/checkpoint.safetensors").read_bytes()

    @property
    def said_by_training(self) -> str:
        return (self.folder / "results/tiny/logs/train/listops/linear/seed1.log").read_text()
