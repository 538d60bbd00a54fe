"""The exception for a user's mistake or a damaged file: shown as one line without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LRAError(ValueError):
    """A message for people: one line that names the file and key."""


def shown(value: object) -> str:
    """A value as messages quote it: in one line, and not more of it than one reads."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}... ({len(str(value))} characters)"


def nearest(word: str, choices: Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of choices where none is close."""
    choices = [str(choice) for choice in choices]
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(sorted(choices))}"


def one_of(where: str, word: str, choices: Iterable[str]) -> str:
    """`word`, or LRAError naming where it stands ("file: key") and the nearest valid choice."""
    if word not in choices:
        raise LRAError(f"{where}: {shown(word)} is unknown; {nearest(word, choices)}")
    return word
