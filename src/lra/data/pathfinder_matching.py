"""Which Pathfinder images to reject so that the distance of the markers does not tell the label.

In the original procedure the two ends of one snake lie at other distances than the ends of two. The
distance alone gives 52 to 54 % accuracy at 32 px with 14 paddles, and up to 68 % at 256 px. Here an
image is kept with probability min(p0(d), p1(d)) / p(d | label), where d is the distance and p0 and
p1 are its distributions for the labels 0 and 1. The kept images have one distribution of d for both
labels.

pathfinder_matching.csv holds the distributions: how many images of the original procedure have
their markers at each distance, in equal steps from 0 to 1.4 sides of the image. Its rows are
printed by `python tests/benchmarks/pathfinder_distances.py SIZE,PADDLES,IMAGES,STEPS`.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import numpy as np


@cache
def _counts() -> dict[tuple[int, int], list[list[int]]]:
    """(size, contour_length) -> number of images by label and distance."""
    counts: dict[tuple[int, int], list[list[int]]] = {}
    with Path(__file__).with_suffix(".csv").open(newline="") as file:
        for row in csv.DictReader(file):
            variant = int(row["size"]), int(row["contour_length"])
            counts.setdefault(variant, []).append([int(n) for n in row["counts"].split()])
    return counts


def tabled(size: int, contour_length: int) -> bool:
    """Whether there are counts for images of `size` pixels and targets of so many paddles."""
    return (size, contour_length) in _counts()


@cache
def kept(size: int, contour_length: int, matched: bool) -> np.ndarray:
    """(2, steps) by label: the probability of keeping an image at each distance."""
    if not matched:
        return np.ones((2, 1))
    share = np.array(_counts()[size, contour_length], float)
    share /= share.sum(1, keepdims=True)
    least = np.broadcast_to(share.min(0), share.shape)
    return np.divide(least, share, out=np.zeros_like(share), where=share > 0)
