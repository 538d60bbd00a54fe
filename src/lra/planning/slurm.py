"""What Slurm needs beyond Snakemake: no orphans, quick polling, signals that reach the training.

An orphan is a job that a killed snakemake left in the queue. It is cancelled before the next run
submits, because two jobs would else train one cell; the new job goes on from what it saved.
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

from lra.core.errors import SPEAKER, LRAError

PREFIX = "lra_"  # of the jobs' names: slurm-jobname-prefix in profiles/slurm/config.yaml
PATIENCE = 300  # seconds; a cancelled job has Slurm's KillWait (30 s by default) to save
EARLY = signal.SIGUSR1  # `--signal=USR1@120`: Slurm's warning before the time limit


def cancel_orphans(folder: Path, say: Callable[[str], None]) -> list[str]:
    """Cancel this user's jobs that were submitted in `folder`, and wait until they have ended.

    Returns their ids. Raises LRAError where Slurm does not answer or they do not end. Only the
    folder's one snakemake may call this, before it submits.
    """
    found = queued(folder)
    if found:
        say(f"{SPEAKER}cancelling jobs that an earlier run left in the queue: {', '.join(found)}")
        ask("scancel", *found)
    deadline = time.monotonic() + PATIENCE
    while left := queued(folder):
        if time.monotonic() > deadline:
            raise LRAError(
                f"squeue: {', '.join(left)}: cancelled, but not ended; wait and run again"
            )
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


def poll_every(seconds: float) -> None:
    """Let the executors of this process ask for their jobs at this interval.

    The Slurm executor (2.8.0) ignores `seconds-between-status-checks`: each time that no job has
    ended it waits 10 s longer, up to three minutes. A chain of short jobs then mostly waits.
    """

    async def sleep(_: RemoteExecutor) -> None:
        await asyncio.sleep(seconds)

    RemoteExecutor.sleep = sleep


def pass_on() -> None:
    """Let SIGTERM and EARLY also reach this process's descendants, for the rest of its life.

    To be called in a job. Where Slurm keeps processes in cgroups, as most sites do, only a step's
    first process hears of a time limit, a cancellation or a preemption: that is the job's
    snakemake. Elsewhere every process does, and a training heeds the first signal.

    EARLY would end Snakemake. For SIGTERM Snakemake (9.27) sets a handler after it has read the
    Snakefile, which waits for what runs: so that handler is extended here.
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
