"""One attempt at a training, recorded so that a SIGKILL can be diagnosed afterwards.

A process that gets SIGKILL cannot say why. The shell that started it can (`lra killed`): by this
record and by the kernel's count of processes that it killed for lack of memory.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lra.config.cell import Cell
from lra.core.files import write_beside
from lra.results import layout

ATTEMPTS = "LRA_ATTEMPTS"
SIGKILLED = 128 + 9  # a shell's exit status of a command that SIGKILL ended
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Attempt:
    """`attempt.json` in the folder of unfinished work; it exists while the training runs."""

    stage: str  # of the cell, "train" or "pretrain"
    cell: str  # resolved, as JSON
    fingerprint: str
    start: dict[str, Any]  # what the record says of the pretraining that it began from
    out: str  # the cell's folder
    oom_kills: int | None  # in this process's cgroup, when the training began

    @staticmethod
    def file(work: Path) -> Path:
        return work / layout.ATTEMPT_FILE

    @classmethod
    def begin(
        cls, cell: Cell, fingerprint: str, start: dict[str, Any], out: Path, work: Path
    ) -> Attempt:
        text = cell.model_dump_json()
        attempt = cls(cell.stage, text, fingerprint, start, str(out), oom_kills())
        write_beside(cls.file(work), json.dumps(asdict(attempt)).encode())
        return attempt

    @classmethod
    def read(cls, work: Path) -> Attempt | None:
        """The attempt that has not ended; None where there is none."""
        try:
            return cls(**json.loads(cls.file(work).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def end(self, work: Path) -> None:
        self.file(work).unlink(missing_ok=True)


def allow_attempts(count: int) -> None:
    """Set how often a job is tried, in the environment that a cluster's jobs inherit.

    The snakemake within such a job decides on resources anew and knows of no retries.
    """
    os.environ[ATTEMPTS] = str(count)


def is_last(attempt: int) -> bool:
    """Whether an attempt, counted from 1, is the last that `allow_attempts` allows."""
    return attempt >= int(os.environ.get(ATTEMPTS, 1))


def shortage(attempt: Attempt) -> str | None:
    """Why the kernel killed it, as one line; None without evidence that memory was short."""
    now = oom_kills()
    if attempt.oom_kills is None or now is None or now <= attempt.oom_kills:
        return None
    return (
        f"killed by the kernel for lack of memory (oom_kill of its cgroup rose from "
        f"{attempt.oom_kills} to {now})"
    )


def oom_kills() -> int | None:
    """How many processes of this cgroup the kernel has killed for lack of memory so far.

    None where that cannot be read (no cgroups, or a kernel that does not count).
    """
    try:
        text = OWN_CGROUP.read_text(encoding="utf-8")
        lines = [line.split(":", 2) for line in text.splitlines()]
        paths = {name: path for _, names, path in lines for name in names.split(",")}
        if "memory" in paths:  # version 1
            return _count(CGROUPS / "memory", paths["memory"], "memory.oom_control")
        return _count(CGROUPS, paths[""], "memory.events")  # version 2: one line, "0::<path>"
    except (OSError, KeyError, ValueError):
        return None


def _count(mount: Path, path: str, file: str) -> int | None:
    folder = mount / path.lstrip("/")
    if not (folder / file).exists():
        folder = mount  # in a container the mount may be the cgroup itself
    lines = (folder / file).read_text(encoding="utf-8").splitlines()
    fields = dict(line.split() for line in lines)
    return int(fields["oom_kill"]) if "oom_kill" in fields else None
