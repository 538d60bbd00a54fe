"""Where a record comes from: code, device, versions, commit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from lra.core.errors import SPEAKER, LRAError
from lra.core.git import git
from lra.core.progress import say
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
    """The checkout's commit, with `-dirty` where tracked files differ.

    None where the folder that holds `src` is no git checkout, though it may lie in one; and, with a
    line that says so, where git fails.
    """
    if not os.path.lexists(ROOT / ".git"):
        return None
    try:
        return git(ROOT, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").strip()
    except LRAError as error:
        say(f"{SPEAKER}{error}; the record names no commit")
        return None
