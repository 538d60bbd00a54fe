"""Intervals of an accuracy over test examples, where there are too few seeds for one over seeds.

The mean over seeds counts as the accuracy of one seed on `n` examples: the seeds share one test
set, so the interval is too wide rather than too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import binomtest


class Share(NamedTuple):
    """A percentage and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def share(percent: float, n: int) -> Share:
    """Of an accuracy on `n` examples: Wilson's score interval (1927)."""
    interval = binomtest(round(percent * n / 100), n).proportion_ci(0.95, "wilson")
    # An accuracy between two whole numbers of right answers may be a hair outside.
    return Share(
        percent, min(percent, 100 * float(interval.low)), max(percent, 100 * float(interval.high))
    )


def average(shares: Sequence[Share]) -> Share:
    """Of independent test sets, each counting alike; by MOVER (Zou and Donner 2008)."""
    below = math.hypot(*(each.mean - each.low for each in shares)) / len(shares)
    above = math.hypot(*(each.high - each.mean for each in shares)) / len(shares)
    mean = sum(each.mean for each in shares) / len(shares)
    return Share(mean, mean - below, mean + above)


def difference(a: Share, b: Share) -> Share:
    """a minus b in points, as if on two test sets: Newcombe's interval (1998, method 10).

    On one test set the two agree more often, so this interval is too wide rather than too narrow.
    """
    gap = a.mean - b.mean
    below = math.hypot(a.mean - a.low, b.high - b.mean)
    above = math.hypot(a.high - a.mean, b.mean - b.low)
    return Share(gap, gap - below, gap + above)


def told_apart(a: Share, b: Share) -> bool:
    """Whether the interval of the difference does not hold 0."""
    _, low, high = difference(a, b)
    return low > 0 or high < 0
