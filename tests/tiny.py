"""Small cells and small data for tests of every folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from lra.config.cell import Cell

ROOT = Path(__file__).resolve().parent.parent

ENCODER = {
    "attention": "transformer", "vocab_size": 17, "classes": 10, "max_len": 64, "dim": 32,
    "qkv_dim": 32, "heads": 2, "layers": 1, "mlp_dim": 32, "pooling": "MEAN", "dropout": 0.1,
    "attention_dropout": 0.1,
}  # fmt: skip
TRAINING = {
    "steps": 40, "batch_size": 16, "eval_every": 10, "learning_rate": 1e-3, "schedule": "cosine",
    "warmup": 5, "checkpoint": "best", "pad_to": 16,
}  # fmt: skip
SMALL_LISTOPS = {"min_length": 4, "max_length": 64, "max_depth": 3, "max_args": 4}


def examples(count: int) -> settings:
    """Of a hypothesis test: `count` examples in `make test-all`, a fifth of them in `make test`."""
    return settings(max_examples=count if os.environ.get("LRA_THOROUGH") else max(4, count // 5))


def slow(values: Iterable) -> list:
    """Parameters of a test that are left to `make test-all`; a tuple is of several."""
    rows = (value if isinstance(value, tuple) else (value,) for value in values)
    return [pytest.param(*row, marks=pytest.mark.slow) for row in rows]


def make_cell(*, encoder: dict | None = None, training: dict | None = None, **fields) -> Cell:
    """A tiny ListOps cell, changed as asked."""
    base = {
        "experiment": "test", "protocol": "quick", "task": "listops", "model": "transformer",
        "seed": 1, "dataset": "tiny", "device": "cpu", "threads": 1,
    }  # fmt: skip
    return Cell(
        **{**base, **fields},
        encoder={**ENCODER, **(encoder or {})},
        training={**TRAINING, **(training or {})},
    )


@contextmanager
def tmpfs(folder: Path, options: str):
    """A file system of its own at `folder`; skips where mounting is not allowed."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        yield folder
    finally:
        # Lazy: another process may be looking through the folder at this moment.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
