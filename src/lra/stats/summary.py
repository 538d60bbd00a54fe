"""Statistics over seeds: mean and interval, the test against chance, fitted exponents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binomtest, t

from lra.core.unique import grouped

MARGIN = 2.0  # percentage points of accuracy: a smaller difference counts as none


@dataclass(frozen=True)
class Summary:
    """Of the values of several seeds, in their unit; for one seed there is only a mean."""

    mean: float
    std: float | None  # of the sample (ddof 1)
    n: int
    low: float | None  # ends of the 95 % t-interval of the mean
    high: float | None

    def interval(self, percent: float) -> tuple[float, float] | None:
        """Ends of the t-interval of the mean; None for one seed."""
        if self.std is None:
            return None
        half = float(t.ppf(0.5 + percent / 200, self.n - 1)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half


@dataclass(frozen=True)
class Outcome:
    """The result of all seeds of one model on one task."""

    verdict: str  # "ok", "FAIL" (at chance), a status that all seeds have, or e.g. "2/3 ok"
    accuracy: Summary | None  # percent, over the seeds that are ok; None where none is
    seeds: int  # ok or not
    stuck: int = 0  # of the seeds that are ok, those that are no better than chance
    # Some seeds are at chance, others are not, and they are more than MARGIN apart: the mean is of
    # two kinds of training, and no training is near it.
    mixed: bool = False

    @property
    def finished(self) -> bool:
        """Whether every seed is ok."""
        return self.verdict in ("ok", "FAIL")

    @property
    def number(self) -> float | None:
        """Mean accuracy in percent where every seed is ok and the mean is above chance."""
        return self.accuracy.mean if self.verdict == "ok" else None


def above_chance(
    accuracy_percent: float, n: int, chance_percent: float, alpha: float = 0.01
) -> bool:
    """Whether an accuracy on `n` examples is above chance: one-sided exact binomial test.

    Raises ValueError where `n` is below 1 or a percentage is outside 0 to 100.
    """
    if n < 1 or not 0 <= accuracy_percent <= 100 or not 0 <= chance_percent <= 100:
        raise ValueError(f"{accuracy_percent} % of {n} against chance {chance_percent} %")
    correct = round(accuracy_percent * n / 100)
    return bool(binomtest(correct, n, chance_percent / 100, "greater").pvalue < alpha)


def summary(values: Sequence[float]) -> Summary:
    """Raises ValueError where there is no value, or one is None or not finite."""
    if not len(values) or any(v is None or not math.isfinite(v) for v in values):
        raise ValueError(f"cannot summarise {list(values)}: a value is missing")
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Summary(mean, None, 1, None, None)
    found = Summary(mean, float(np.std(values, ddof=1)), n, None, None)
    low, high = found.interval(95)
    return replace(found, low=low, high=high)


def outcome(rows: Sequence[dict]) -> Outcome:
    """Of one model on one task; rows: of scores.parquet, one a seed.

    The test for `FAIL` treats the mean accuracy as that of one seed on n_test examples. The seeds
    share one test set: to count their answers as independent would be over-confident.
    """
    ok = [row for row in rows if row["status"] == "ok"]
    accuracy = summary([row["accuracy"] for row in ok]) if ok else None
    statuses = {row["status"] for row in rows}
    if statuses == {"ok"}:
        n, chance = rows[0]["n_test"], rows[0]["chance"]
        verdict = "ok" if above_chance(accuracy.mean, n, chance) else "FAIL"
    elif len(statuses) == 1:
        verdict = statuses.pop()
    else:
        verdict = f"{len(ok)}/{len(rows)} ok"
    stuck = [not above_chance(r["accuracy"], r["n_test"], r["chance"]) for r in ok]
    apart = np.ptp([r["accuracy"] for r in ok]) if ok else 0.0
    mixed = 0 < sum(stuck) < len(ok) and apart > MARGIN
    return Outcome(verdict, accuracy, len(rows), sum(stuck), bool(mixed))


def outcomes(rows: Sequence[dict]) -> dict[tuple[str, str], Outcome]:
    """Outcomes by (model, task); rows: of scores.parquet."""
    return {cell: outcome(seeds) for cell, seeds in grouped(rows, "model", "task").items()}


def fitted_exponent(lengths: Sequence[float], values: Sequence[float]) -> float:
    """The b of `value = a * length ** b`, by least squares on logarithms.

    Raises ValueError where there are fewer than two lengths, or a value is not positive.
    """
    x, y = np.asarray(lengths, float), np.asarray(values, float)
    if len(set(x)) < 2 or not (np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)).all():
        raise ValueError(f"no power law through {list(values)} at {list(lengths)}")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
