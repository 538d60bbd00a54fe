"""Work in a process of its own, forked from this one: it has the imports and starts at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

from lra.core.errors import ends_in_one_line
from lra.core.files import sigterm_unwinds


def run_in_child(work: Callable[..., None], *arguments: object) -> int:
    """The exit status: 0, 1 after an error that the child has said, or -n after signal n.

    This process must have no threads and no CUDA context. SIGTERM ends the child, too.
    """
    child = multiprocessing.get_context("fork").Process(target=_run, args=(work, arguments))
    with sigterm_unwinds():
        child.start()
        try:
            child.join()
        finally:
            child.kill()
            child.join()
    return child.exitcode


def _run(work: Callable[..., None], arguments: tuple) -> None:
    with ends_in_one_line():
        work(*arguments)
