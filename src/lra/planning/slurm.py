"""Slurm jobs that a killed snakemake left behind in this folder: cancelled before it goes on.

Two jobs would else train one cell. What the cancelled ones saved is where the new ones go on.
"""

from __future__ import annotations

import asyncio
import getpass
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from lra.core.errors import LRAError

PREFIX = "lra_"  # of the jobs' names: slurm-jobname-prefix in profiles/slurm/config.yaml
PATIENCE = 300  # seconds; a cancelled job has Slurm's KillWait (30 s by default) to save


def cancel_orphans(folder: Path, say: Callable[[str], None]) -> list[str]:
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


# How often the Slurm executor asks for its jobs.
#
# It (2.8.0) waits 10 s longer each time that no job has ended, up to three minutes, whatever
# `seconds-between-status-checks` says: at the end of a chain of short jobs that is most of the time.


def poll_every(seconds: float) -> None:
    """Let the executors of this process wait so long, every time."""

    async def sleep(_: RemoteExecutor) -> None:
        await asyncio.sleep(seconds)

    RemoteExecutor.sleep = sleep


# Signals of a cluster's job, passed on to what runs in it.
#
# Where Slurm keeps processes in cgroups, as most sites do, it tells only a step's first process of a
# time limit, a cancellation or a preemption: that is the snakemake within the job. Elsewhere it tells
# every process, and a training notes the first signal that comes.


EARLY = signal.SIGUSR1  # `--signal=USR1@120`


def pass_on() -> None:
    """Let SIGTERM and EARLY also reach this process's descendants, for the rest of its life.

    Snakemake (9.27) sets a handler of SIGTERM after it has read the Snakefile, which waits for what
    runs: so that one is extended here, and none is set. EARLY would end it.
    """
    signal.signal(EARLY, _to_descendants)
    waits = JobScheduler.exit_gracefully

    def tell_and_wait(scheduler: JobScheduler, signum: int, frame: object) -> None:
        _to_descendants(signum, frame)
        waits(scheduler, signum, frame)

    JobScheduler.exit_gracefully = tell_and_wait


def _to_descendants(signum: int, _frame: object) -> None:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signum)
