"""Where a record comes from: code, device, versions, commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import torch

from lra.hardware.device import choose_device, device_name

ROOT = Path(__file__).resolve().parents[3]


def provenance(found: str, device: str) -> dict[str, Any]:
    """The fields of `records.Provenance`."""
    return {
        "fingerprint": found,
        "device": device_name(choose_device(device)),
        "torch_version": torch.__version__,
        "git_commit": git_commit(),
    }


def git_commit() -> str | None:
    """The checkout's commit, with `-dirty` where tracked files differ; None where the folder that
    holds `src` is no git checkout, though it may lie in one.
    """
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40",
               "--exclude=*"]  # fmt: skip
    alone = {**os.environ, "GIT_CEILING_DIRECTORIES": str(ROOT.parent)}
    try:
        done = subprocess.run(command, env=alone, capture_output=True, text=True, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
