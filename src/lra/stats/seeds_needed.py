"""How many seeds would tell two mechanisms apart."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2, nct, t

LEVEL = 0.05  # of a two-sided t test
POWER = 0.8  # share of experiments that find a difference which is there
MOST = 1000  # seeds


def typical_std(stds: Sequence[float], seeds: int) -> float:
    """Of the median model, from the standard deviations of several over so many seeds each.

    The median of squares of few normal values is below their variance by chi-squared's median. A
    mean would follow the few models that are learned in some seeds only.
    """
    freedom = seeds - 1
    return math.sqrt(np.median(np.square(stds)) * freedom / chi2.ppf(0.5, freedom))


def seeds_needed(difference: float, std: float) -> int | None:
    """Seeds of each of two models until a t test finds this difference of their means.

    std: over seeds, of either, in the difference's unit. None: more than MOST.
    """
    if std == 0:
        return 2 if difference else None
    enough = range(2, MOST + 1)
    place = bisect_left(enough, POWER, key=lambda n: power(difference / std, n))
    return enough[place] if place < len(enough) else None


def power(effect: float, seeds: int) -> float:
    """Of the two-sided t test of two samples of `seeds` values, `effect` deviations apart."""
    freedom, shift = 2 * seeds - 2, abs(effect) * math.sqrt(seeds / 2)
    limit = t.ppf(1 - LEVEL / 2, freedom)
    return float(nct.sf(limit, freedom, shift) + nct.cdf(-limit, freedom, shift))
