"""Statistics over seeds: mean and interval, the test against chance, fitted exponents."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, linregress, t

from lra.core.unique import distinct, grouped
from lra.stats.paired import holm

ALPHA = 0.01  # of the test against chance
AT_CHANCE = (  # what FAIL means
    f"not significantly above chance (one-sided binomial test, p < {ALPHA:g} after Holm's "
    "correction for the task's models)"
)
FEWEST = 3  # seeds, for an interval over seeds and a verdict on a published value
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

    verdict: str  # "ok", "FAIL" (see outcomes), a status that all seeds have, or e.g. "2/3 ok"
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

    @property
    def learned(self) -> bool:
        """Whether it is above chance; where a seed is not ok, whether some seed is."""
        if self.finished:
            return self.verdict == "ok"
        return self.accuracy is not None and self.stuck < self.accuracy.n


ABSENT = Outcome("0/0 ok", None, 0)  # of a model that was not trained on a task


def above_chance(accuracy_percent: float, n: int, chance_percent: float) -> bool:
    """Whether one accuracy on `n` examples is above chance, at p < 0.01, uncorrected.

    For a single seed or a published number. Of several models `outcomes` says it. Raises ValueError
    where `n` is below 1 or a percentage is outside 0 to 100.
    """
    return _p_of_chance(accuracy_percent, n, chance_percent) < ALPHA


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


def seed_means(rows: list[dict], tasks: list[str]) -> list[float]:
    """Of one model: each seed's mean over the tasks.

    Empty where a seed of a task is missing, and where there is no task.
    """
    at = {(r["task"], r["seed"]): r["accuracy"] for r in rows if r["status"] == "ok"}
    seeds = distinct(rows, "seed")
    if not tasks or any((task, seed) not in at for task in tasks for seed in seeds):
        return []
    return [sum(at[task, seed] for task in tasks) / len(tasks) for seed in seeds]


def outcomes(rows: Iterable[dict]) -> dict[tuple[str, str], Outcome]:
    """Outcomes by (model, task); rows: of scores.parquet, all models that are shown together.

    `FAIL` is a mean accuracy that is not above chance: one-sided exact binomial test at p < 0.01,
    after Holm's correction for the models of the task whose seeds are all ok. Of a task with
    nothing but chance, some model then passes in 1 % of experiments, not in 10 % (11 models).

    The test treats the mean as the accuracy of one seed on n_test examples. The seeds share one
    test set: to count their answers as independent would be over-confident.
    """
    found = {}
    for (task,), own in grouped(rows, "task").items():
        cells = {model: seeds for (model,), seeds in grouped(own, "model").items()}
        means = {
            model: summary([row["accuracy"] for row in seeds]).mean
            for model, seeds in cells.items()
            if all(row["status"] == "ok" for row in seeds)
        }
        facts = {model: (cells[model][0]["n_test"], cells[model][0]["chance"]) for model in means}
        ps = holm([_p_of_chance(mean, *facts[model]) for model, mean in means.items()])
        corrected = dict(zip(means, ps, strict=True))
        found |= {(m, task): _outcome(seeds, corrected.get(m)) for m, seeds in cells.items()}
    return {cell: found[cell] for cell in grouped(rows, "model", "task")}


def unlearned(found: dict[tuple[str, str], Outcome]) -> set[str]:
    """The tasks on which some model is at chance and none has a seed above it, of `outcomes`."""
    failed = {task for (_, task), each in found.items() if each.verdict == "FAIL"}
    return failed - {task for (_, task), each in found.items() if each.learned}


def _outcome(rows: list[dict], p: float | None) -> Outcome:
    """Of one model on one task; p: of the test against chance, None where a seed is not ok."""
    ok = [row for row in rows if row["status"] == "ok"]
    accuracy = summary([row["accuracy"] for row in ok]) if ok else None
    statuses = {row["status"] for row in rows}
    if p is not None:
        verdict = "ok" if p < ALPHA else "FAIL"
    elif len(statuses) == 1:
        verdict = statuses.pop()
    else:
        verdict = f"{len(ok)}/{len(rows)} ok"
    stuck = [not above_chance(r["accuracy"], r["n_test"], r["chance"]) for r in ok]
    apart = np.ptp([r["accuracy"] for r in ok]) if ok else 0.0
    mixed = 0 < sum(stuck) < len(ok) and apart > MARGIN
    return Outcome(verdict, accuracy, len(rows), sum(stuck), bool(mixed))


def _p_of_chance(accuracy_percent: float, n: int, chance_percent: float) -> float:
    if n < 1 or not 0 <= accuracy_percent <= 100 or not 0 <= chance_percent <= 100:
        raise ValueError(f"{accuracy_percent} % of {n} against chance {chance_percent} %")
    correct = round(accuracy_percent * n / 100)
    return float(binomtest(correct, n, chance_percent / 100, "greater").pvalue)


class Exponent(NamedTuple):
    value: float
    error: float  # standard error


def fitted_exponent(lengths: Sequence[float], values: Sequence[float]) -> Exponent | None:
    """The b of `value = a * length ** b`, by least squares on logarithms.

    None below three lengths, which leave no error. Raises ValueError where a value is not positive.
    """
    x, y = np.asarray(lengths, float), np.asarray(values, float)
    if not (np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)).all():
        raise ValueError(f"no power law through {list(values)} at {list(lengths)}")
    if len(set(x)) < 3:
        return None
    fit = linregress(np.log(x), np.log(y))
    return Exponent(float(fit.slope), float(np.nan_to_num(fit.stderr)))  # nan where all are equal
