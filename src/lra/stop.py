"""Being asked to stop by a signal: noted at once, acted on where the state is whole.

SIGUSR1 says that the job's time limit is near (Slurm: `--signal=USR1@120`). SIGTERM (cancelled,
preempted, the node drained) and SIGINT (Ctrl-C) say nothing about time.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

TIME_IS_UP = signal.SIGUSR1
SIGNALS = (signal.SIGTERM, signal.SIGINT, TIME_IS_UP)


class Interrupted(Exception):
    """Raised in the midst of work that is begun anew later, once a signal has come."""


class Stop:
    """Whether this process was asked to stop, and by which signal: the first that came."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def note(self, signum: int, _frame: object) -> None:
        self.signal = self.signal or signal.Signals(signum)

    def check(self) -> None:
        """Raises Interrupted once a signal has come."""
        if self.signal:
            raise Interrupted


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Note SIGNALS instead of dying of them; only the main thread may, in others none is noted."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {signum: signal.signal(signum, stop.note) for signum in SIGNALS}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
