"""Mistakes of a user, damaged files and missing resources are one line without a traceback."""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

SPEAKER = "lra: "  # before each such line
INTERRUPTED = 130  # exit status after Ctrl-C, as a shell has it


class LRAError(ValueError):
    """A message for people: one line that names the file and key."""


def shown(value: object) -> str:
    """A value as messages quote it: in one line, and not more of it than one reads."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}... ({len(str(value))} characters)"


def in_one_line(error: Exception) -> str | None:
    """What people are told of an error; None where it is a fault of this program."""
    if isinstance(error, LRAError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{(error.strerror or str(error)).lower()}"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "no further thread can be started: a limit of this machine"
    return "out of memory" if isinstance(error, MemoryError) else None


@contextmanager
def ends_in_one_line(status: int = 1) -> Iterator[None]:
    """Any error ends this process with that exit status; a fault of ours shows where it is, too.

    Ctrl-C ends it with INTERRUPTED.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"{SPEAKER}stopped by Ctrl-C", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 -- the one place for all of them
        line = in_one_line(error)
        if line is None:
            traceback.print_exc()
            line = f"{type(error).__name__}: {error} (a fault of lra; the lines above say where)"
        with suppress(OSError):  # nobody may read it any more
            sys.stdout.flush()  # what was said before comes before
        print(SPEAKER + line, file=sys.stderr, flush=True)
        sys.exit(status)


def nearest(word: str, choices: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of choices where none is close."""
    choices = [str(choice) for choice in choices]
    if not choices:
        return "there is none"
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(sorted(choices))}"


def one_of(where: str, word: str, choices: Iterable[str]) -> str:
    """`word`, or LRAError naming where it stands ("file: key") and the nearest valid choice."""
    if word not in choices:
        raise LRAError(f"{where}: {shown(word)} is unknown; {nearest(word, choices)}")
    return word
