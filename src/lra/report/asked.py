"""Tasks that ask for some of their tokens alone, and what the labels of their examples count.

All tokens of the others are predicted (of Bytes and Markov).
"""

from __future__ import annotations

from collections.abc import Iterable

WHAT = {
    "recall": "pairs",
    "noisy_recall": "pairs",
    "fuzzy_recall": "pairs",
    "copy": "copied",
    "selective_copy": "copied",
    "needle": "apart",
    "addition": "carries",
    "addition_reversed": "carries",
    "sudoku": "blanks",
}


def what(row: dict) -> str | None:
    """Of the task of a row of scores.parquet; None where all tokens are predicted."""
    return WHAT.get(row["variant_of"] or row["task"])


def asking(rows: Iterable[dict]) -> list[dict]:
    """The rows of scores.parquet that are of such tasks."""
    return [row for row in rows if what(row)]
