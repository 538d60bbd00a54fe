"""Slurm jobs that a killed snakemake left behind in this folder: cancelled before it goes on.

Two jobs would else train one cell. What the cancelled ones saved is where the new ones go on.
"""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lra.errors import LRAError

PREFIX = "lra_"  # of the jobs' names: slurm-jobname-prefix in profiles/slurm/config.yaml
PATIENCE = 300  # seconds; a cancelled job has Slurm's KillWait (30 s by default) to save


def cancel(folder: Path, say: Callable[[str], None]) -> list[str]:
    """Cancel this user's jobs that were submitted in `folder`, and wait until they have ended.

    Returns their ids. Raises LRAError where Slurm does not answer or they do not end. To be called
    by the only snakemake of the folder, before it submits.
    """
    found = queued(folder)
    if found:
        say(f"lra: cancelling jobs that an earlier run left in the queue: {', '.join(found)}")
        ask("scancel", *found)
    deadline = time.monotonic() + PATIENCE
    while left := queued(folder):
        if time.monotonic() > deadline:
            raise LRAError(f"squeue: {', '.join(left)}: cancelled, but still there; wait and rerun")
        time.sleep(1)
    return found


def queued(folder: Path) -> list[str]:
    """Ids of this user's waiting, running and ending jobs of this folder."""
    user = getpass.getuser()
    lines = ask("squeue", "--noheader", f"--user={user}", "--format=%i|%j|%Z").splitlines()
    jobs = (line.split("|", 2) for line in lines)
    return [job for job, name, where in jobs if name.startswith(PREFIX) and where == str(folder)]


def ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LRAError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise LRAError(f"{command[0]}: {' '.join(done.stderr.split())}")
    return done.stdout
