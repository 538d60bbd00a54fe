"""Notes that tables and figures share: which models are not shown, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from lra.core.formats import listed
from lra.core.unique import distinct, grouped


def not_ok(cells: Collection[tuple[str, str]]) -> list[str]:
    """One note of all (task, model) that have a seed whose status is not ok."""
    names = (f"{model} on {task}" for task, model in cells)
    return [f"Not ok in every seed: {listed(names)}."] if cells else []


def not_read_so_long(rows: Iterable[dict]) -> list[str]:
    """A note for each reason why windows 16 times as long were not read."""
    unread = grouped((row for row in rows if row["long_reason"]), "long_reason")
    return [
        f"Not read so long, as {reason}: {listed(distinct(own, 'model'))}."
        for (reason,), own in unread.items()
    ]
