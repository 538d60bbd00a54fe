"""Signals of a cluster's job, passed on to what runs in it.

Where Slurm keeps processes in cgroups, as most sites do, it tells only a step's first process of a
time limit, a cancellation or a preemption: that is the snakemake within the job. Elsewhere it tells
every process, and a training notes the first signal that comes.
"""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil
from snakemake.scheduling.job_scheduler import JobScheduler

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
