"""How far two rankings of mechanisms agree: Spearman's rank correlation and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import norm, spearmanr

FEWEST = 5  # mechanisms: the interval of fewer says nothing
LEVEL = 95.0  # percent


@dataclass(frozen=True)
class Agreement:
    """Of the mechanisms that both rank"""

    models: tuple[str, ...]
    rho: float
    low: float | None  # ends of the interval; None where the ranks are the same or opposite
    high: float | None


def agreement(ours: dict[str, float], theirs: dict[str, float]) -> Agreement | None:
    """Of accuracies by mechanism; None below FEWEST of them, or where all of one side are equal.

    The interval is Fisher's, with the variance for ranks (1 + rho^2 / 2) / (n - 3) of Bonett and
    Wright 2000 (Psychometrika 65:23). It is for other mechanisms of the same kind, not for other
    seeds.
    """
    models = tuple(model for model in ours if model in theirs)
    pairs = [(ours[m], theirs[m]) for m in models]
    if len(models) < FEWEST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    rho = float(spearmanr(pairs).statistic)
    if math.isclose(abs(rho), 1):  # Fisher's transform has no value there
        return Agreement(models, round(rho), None, None)
    half = float(norm.ppf(0.5 + LEVEL / 200)) * math.sqrt((1 + rho**2 / 2) / (len(models) - 3))
    low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    return Agreement(models, rho, low, high)
