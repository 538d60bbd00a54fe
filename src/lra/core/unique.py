"""Values in the order in which they first come."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any


def unique(values: Iterable[Hashable]) -> list:
    """Each value once."""
    return list(dict.fromkeys(values))


def distinct(rows: Iterable[Mapping[str, Any]], name: str) -> list:
    """The distinct values of one column of a table's rows."""
    return unique(row[name] for row in rows)
