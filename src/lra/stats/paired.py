"""Whether two models differ: over the examples of one test set, and over seeds.

The test over examples asks about these trained models on other examples. The test over seeds asks
about the same two models trained again. Neither answers the other's question.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, binomtest, ttest_rel

ALPHA = 0.05
RESAMPLES = 10_000  # of a bootstrap
SEED = 0  # of its random numbers: the same inputs give the same interval


@dataclass(frozen=True)
class Paired:
    """The first model minus the second, in percentage points; p is two-sided."""

    difference: float
    low: float | None  # ends of the 95 % interval; None where it cannot be computed
    high: float | None
    p: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval does; True where there is none, as then every pair is alike."""
        return self.low is None or self.low > 0 or self.high < 0


def told_apart(over_seeds: Paired, holm_p: float, over_examples: Paired) -> bool:
    """Whether two mechanisms differ, not only these trained models.

    holm_p: of the test over seeds, corrected. Neither interval may hold 0; a reader sees the one
    over examples.
    """
    return holm_p < ALPHA and over_seeds.excludes_zero and over_examples.excludes_zero


def examples(correct_a: np.ndarray, correct_b: np.ndarray) -> Paired:
    """Compare over test examples; correct_*: (seeds, n_test) bool, the same examples in order.

    An example counts once, with its mean over each model's seeds, because the answers of several
    seeds to one question are not independent. Interval: paired bootstrap over examples. p: exact
    permutation test that swaps the models at each example; for one seed each it is McNemar's exact
    test (1947). Raises ValueError where the shapes do not fit.
    """
    a, b = _checked(correct_a), _checked(correct_b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} and {b.shape[1]} examples: not the same test set")
    # Whole numbers: differences of the means in units of 1 / (100 * unit) percentage points.
    unit = math.lcm(len(a), len(b))
    steps = a.sum(0) * (unit // len(a)) - b.sum(0) * (unit // len(b))
    low, high = _bootstrap(steps, 100 / unit)
    return Paired(100 * float(steps.mean()) / unit, low, high, _swapped(steps))


def seeds(acc_a: Sequence[float], acc_b: Sequence[float]) -> Paired | None:
    """Compare accuracies (percent) seed by seed with the paired t test; None below two seeds.

    Where every seed has the same difference, t and its interval do not exist: p is then that of the
    exact sign test, or 1 for no difference. Wilcoxon's test is not used: below six seeds it cannot
    reach p < 0.05. Raises ValueError where the numbers of seeds differ, or a value is not finite.
    """
    a, b = np.asarray(acc_a, float), np.asarray(acc_b, float)
    if a.shape != b.shape or not np.isfinite([a, b]).all():
        raise ValueError(f"{list(acc_a)} against {list(acc_b)}: not pairs of accuracies")
    if len(a) < 2:
        return None
    difference = float(np.mean(a - b))
    if np.ptp(a - b) < 1e-9:
        p = 1.0 if abs(difference) < 1e-9 else 2.0 ** (1 - len(a))
        return Paired(difference, None, None, p)
    test = ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    return Paired(difference, float(interval.low), float(interval.high), float(test.pvalue))


def accuracy_interval(correct: np.ndarray) -> tuple[float, float]:
    """95 % interval in percent of an accuracy over test examples; correct: (seeds, n_test) bool.

    For one seed the exact interval (Clopper and Pearson 1934), which holds at 0 and 100 % too. For
    several seeds a bootstrap over examples, each with its mean over seeds.
    """
    right = _checked(correct)
    if len(right) == 1:
        interval = binomtest(int(right.sum()), right.shape[1]).proportion_ci(0.95, "exact")
        return 100 * float(interval.low), 100 * float(interval.high)
    return _bootstrap(right.sum(0), 100 / len(right))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for multiple tests (Holm 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(order))
    grown = np.asarray(p, float)[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(grown), 1.0) if len(order) else grown
    return corrected.tolist()


def _bootstrap(steps: np.ndarray, size: float) -> tuple[float, float]:
    """95 % percentile interval of the mean of whole numbers, times `size`.

    Drawing the counts of the few distinct values gives the same distribution as drawing examples,
    in a thousandth of the time.
    """
    values, counts = np.unique(steps, return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(steps), counts / len(steps), RESAMPLES)
    low, high = np.percentile(draws @ values / len(steps), [2.5, 97.5]) * size
    return float(low), float(high)


def _swapped(steps: np.ndarray) -> float:
    """Exact P(|sum| at least as large) where each step has either sign with probability 1/2."""
    sizes, counts = np.unique(np.abs(steps[steps != 0]), return_counts=True)
    chance = np.ones(1)  # of the sum being -reach, -reach + 2, ..., reach
    for size, count in zip(sizes, counts, strict=True):
        own = np.zeros(size * count + 1)
        own[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        chance = np.convolve(chance, own)
    sums = np.arange(-len(chance) + 1, len(chance), 2)
    return min(1.0, float(chance[np.abs(sums) >= abs(int(steps.sum()))].sum()))


def _checked(correct: np.ndarray) -> np.ndarray:
    right = np.asarray(correct)
    if right.ndim != 2 or right.dtype != bool or not right.size:
        raise ValueError(f"must be bool (seeds, n_test), not {right.dtype} {right.shape}")
    return right.astype(int)
