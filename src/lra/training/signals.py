"""Signals that ask a training to stop: noted at once, acted on where the state is whole.

SIGUSR1 says that the job's time limit is near (Slurm: `--signal=USR1@120`). SIGTERM (cancelled,
preempted, the node drained) and SIGINT (Ctrl-C) say nothing about time.
"""

from __future__ import annotations

import signal

TIME_IS_UP = signal.SIGUSR1
SIGNALS = (signal.SIGTERM, signal.SIGINT, TIME_IS_UP)


class Interrupted(Exception):
    """Raised within work that a resumed training repeats, once a signal has come."""


class Stop:
    """The first signal that asked this process to stop, or None."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def note(self, signum: int, _frame: object) -> None:
        self.signal = self.signal or signal.Signals(signum)

    def check(self) -> None:
        """Raises Interrupted once a signal has come."""
        if self.signal:
            raise Interrupted


def stop_on_signals() -> Stop:
    """Note SIGNALS instead of dying of them, for the rest of this process.

    To the very end, because schedulers signal more than once: Snakemake would count a training that
    a signal ends as failed and delete its files, though all were written.
    """
    stop = Stop()
    for signum in SIGNALS:
        signal.signal(signum, stop.note)
    return stop
