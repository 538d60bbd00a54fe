"""Compares what splits hold, such as generated data with published data.

lra distributions results/data/listops/train.arrow results/data/listops-release/train.arrow
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tabulate import tabulate

from lra.core.errors import LRAError
from lra.core.unique import unique
from lra.data.split import Split, read_split

QUANTILES = (0, 1, 25, 50, 75, 99, 100)  # percent
VALUES = 5  # the most frequent pixel values that are shown


def compared(paths: list[Path]) -> str:
    """A table with one row per value and one column per split.

    Raises LRAError where the splits are of several tasks.
    """
    splits = [read_split(path) for path in paths]
    tasks = {split.info.task for split in splits}
    if len(tasks) > 1:
        raise LRAError(f"{paths[-1]}: is of another task: {', '.join(sorted(tasks))}")
    columns = [described(split) for split in splits]
    rows = unique(row for column in columns for row in column)
    table = [[row, *(column.get(row, "") for column in columns)] for row in rows]
    names = [f"{path.parent.name}/{path.stem}" for path in paths]
    return tabulate(table, headers=["", *names], disable_numparse=True, stralign="right")


def described(split: Split) -> dict[str, str]:
    """The split's column: row's name -> value."""
    found = {"examples": f"{len(split):,}"}
    for label, count in enumerate(np.bincount(split.labels, minlength=split.info.classes)):
        found[f"label {label}, %"] = f"{100 * count / len(split):.2f}"
    if split.info.pads:
        return found | _lengths(split) | _tokens(split)
    return found | _pixels(split)


def _lengths(split: Split) -> dict[str, str]:
    found = {}
    for number, tower in enumerate(split.towers):
        lengths = np.diff(tower.offsets)
        of = f" of document {number + 1}" if len(split.towers) > 1 else ""
        for percent, length in zip(QUANTILES, np.percentile(lengths, QUANTILES), strict=True):
            found[f"length{of}, {percent} % quantile"] = f"{length:.0f}"
        found[f"length{of}, mean"] = f"{lengths.mean():.1f}"
    return found


def _tokens(split: Split) -> dict[str, str]:
    """Each token's share, where the vocabulary has names."""
    if split.info.vocab is None:
        return {}
    counts = np.bincount(split.towers[0].values, minlength=split.info.vocab_size)
    shares = 100 * counts / counts.sum()
    return {
        f"token {word}, %": f"{s:.3f}" for word, s in zip(split.info.vocab, shares, strict=True)
    }


def _pixels(split: Split) -> dict[str, str]:
    """By label: these values should not differ, or they tell the label without any shape."""
    pixels = split.towers[0].values.reshape(len(split), -1)
    found = {}
    for label in range(split.info.classes):
        chosen = pixels[split.labels == label]
        if not len(chosen):
            continue
        counts = np.bincount(chosen.ravel(), minlength=256)
        found[f"label {label}: pixels above 0, %"] = f"{100 * (1 - counts[0] / chosen.size):.3f}"
        found[f"label {label}: mean value"] = f"{counts @ np.arange(256) / chosen.size:.3f}"
        common = np.argsort(-counts, kind="stable")[:VALUES]
        values = (f"{value} ({100 * counts[value] / chosen.size:.1f})" for value in common)
        found[f"label {label}: commonest values (%)"] = ", ".join(values)
    return found
