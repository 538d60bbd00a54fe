"""Values in the order in which they first come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import product
from typing import Any


def unique(values: Iterable[Hashable]) -> list:
    """Each value once."""
    return list(dict.fromkeys(values))


def distinct(rows: Iterable[Mapping[str, Any]], name: str) -> list:
    """The distinct values of one column of a table's rows."""
    return unique(row[name] for row in rows)


def grouped(rows: Iterable[Mapping[str, Any]], *names: str) -> dict[tuple, list]:
    """The rows by their values in some columns, sorted by where each value first comes."""
    rows = list(rows)
    groups = {key: [] for key in product(*(distinct(rows, name) for name in names))}
    for row in rows:
        groups[tuple(row[name] for name in names)].append(row)
    return {key: own for key, own in groups.items() if own}
