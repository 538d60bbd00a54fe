"""Statistics against values worked out elsewhere, and what may never happen."""

import math

import numpy as np
import pytest
from fabricated import score_row
from hypothesis import given
from hypothesis import strategies as st

from lra.stats.over_examples import average, difference, share, told_apart
from lra.stats.summary import above_chance, fitted_exponent, outcomes, summary, unlearned


def test_chance_is_not_above_chance_and_certainty_is():
    assert not above_chance(50.0, 2000, 50.0)
    assert above_chance(100.0, 2000, 50.0)


def test_the_binomial_test_turns_where_the_tables_say():
    # One-sided, p < 0.01, 100 fair coins: P(X >= 62) = 0.0105, P(X >= 63) = 0.0060.
    assert not above_chance(62.0, 100, 50.0)
    assert above_chance(63.0, 100, 50.0)


def test_below_chance_is_not_above_it_however_far():
    assert not above_chance(5.0, 2000, 50.0)


@pytest.mark.parametrize("values", [(50.0, 0, 50.0), (math.nan, 10, 50.0), (101.0, 10, 50.0)])
def test_what_is_no_percentage_is_refused(values):
    with pytest.raises(ValueError):
        above_chance(*values)


@given(st.floats(0, 100), st.integers(1, 500), st.floats(1, 99))
def test_more_right_answers_never_lose_significance(accuracy, n, chance):
    if above_chance(accuracy, n, chance):
        assert accuracy > chance - 100 / n
        assert above_chance(100.0, n, chance)


def test_summary_of_three_seeds():
    found = summary([60.0, 62.0, 64.0])
    assert (found.mean, found.std, found.n) == (62.0, 2.0, 3)
    half = 4.302653 * 2.0 / math.sqrt(3)  # Student's t with 2 degrees of freedom, 97.5 %
    assert found.low == pytest.approx(62.0 - half, rel=1e-6)
    assert found.high == pytest.approx(62.0 + half, rel=1e-6)


def test_one_seed_has_no_spread_and_no_interval():
    found = summary([60.0])
    assert (found.mean, found.n) == (60.0, 1)
    assert found.std is found.low is found.high is None


@pytest.mark.parametrize("values", [[], [60.0, None], [60.0, math.nan], [math.inf]])
def test_nothing_missing_is_averaged_over(values):
    with pytest.raises(ValueError):
        summary(values)


@pytest.mark.parametrize(
    ("statuses", "accuracy", "verdict"),
    [
        (["ok", "ok"], 60.0, "ok"),
        (["ok", "ok"], 50.5, "FAIL"),
        (["oom", "oom"], 60.0, "oom"),
        (["ok", "oom", "ok"], 60.0, "2/3 ok"),
        (["diverged", "oom"], 60.0, "0/2 ok"),
    ],
)
def test_verdicts(statuses, accuracy, verdict):
    rows = [score_row(seed=i, status=s, accuracy=accuracy) for i, s in enumerate(statuses)]
    (found,) = outcomes(rows).values()
    assert found.verdict == verdict
    assert found.number == (accuracy if verdict == "ok" else None)
    assert (found.accuracy is None) == ("ok" not in statuses)


def test_seeds_are_not_pooled():
    # 52 % is above chance on 10 x 1000 answers, but seeds share one test set of 1000.
    rows = [score_row(seed=i, accuracy=52.0, n_test=1000) for i in range(10)]
    assert above_chance(52.0, 10_000, 50.0)
    assert verdicts(rows) == {("linear", "text"): "FAIL"}


def verdicts(rows) -> dict:
    return {cell: found.verdict for cell, found in outcomes(rows).items()}


def near_chance(others: float) -> list[dict]:
    """Ten models of an accuracy, and one that alone is above chance at p = 0.0060."""
    rows = [score_row(model=f"m{i}", accuracy=others, n_test=100) for i in range(10)]
    return [*rows, score_row(accuracy=63.0, n_test=100)]


def test_fail_is_corrected_by_holm_for_the_models_of_a_task():
    alone = verdicts(near_chance(50.0)[-1:])
    assert alone["linear", "text"] == "ok"
    assert set(verdicts(near_chance(50.0)).values()) == {"FAIL"}
    # Holm's, and not Bonferroni's: nothing is left to correct for once all others are above.
    assert set(verdicts(near_chance(90.0)).values()) == {"ok"}


def test_other_tasks_and_unfinished_models_do_not_correct():
    rows = [r | {"task": f"t{i}"} for i, r in enumerate(near_chance(50.0))]
    assert verdicts(rows)["linear", "t10"] == "ok"
    rows = [r | {"status": "oom", "accuracy": None} for r in near_chance(50.0)[:-1]]
    assert verdicts([*rows, *near_chance(50.0)[-1:]])["linear", "text"] == "ok"


def test_of_models_at_chance_one_passes_in_one_experiment_of_a_hundred():
    """Eleven models, 2,000 examples: in 10 of 100 experiments where nothing is corrected."""
    random = np.random.default_rng(0)
    passed, uncorrected = 0, 0
    for _ in range(300):
        right = random.binomial(2000, 0.5, 11)
        rows = [score_row(model=f"m{i}", accuracy=x / 20) for i, x in enumerate(right)]
        passed += "ok" in verdicts(rows).values()
        uncorrected += above_chance(float(right.max()) / 20, 2000, 50.0)
    assert passed <= 9 and 15 <= uncorrected <= 45  # expected: 2.6 and 28


@given(st.floats(0.1, 100), st.floats(-3, 3))
def test_the_exponent_of_a_power_law_is_found(factor, exponent):
    lengths = [256, 512, 1024, 4096]
    values = [factor * n**exponent for n in lengths]
    found = fitted_exponent(lengths, values)
    assert found.value == pytest.approx(exponent, abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_the_error_of_an_exponent_is_that_of_the_regression():
    found = fitted_exponent(
        [1, math.e, math.e**2], [1, math.e, math.e**3]
    )  # residuals 1, -2, 1 / 6
    assert found.value == pytest.approx(1.5)
    assert found.error == pytest.approx(math.sqrt(6 / 36 / 2))


@pytest.mark.parametrize("values", [([], []), ([64], [1.0]), ([64, 64, 128], [1.0, 2.0, 3.0])])
def test_no_exponent_through_less_than_three_lengths(values):
    assert fitted_exponent(*values) is None


def test_no_exponent_of_what_is_not_positive():
    with pytest.raises(ValueError):
        fitted_exponent([64, 128, 256], [0.0, 1.0, 2.0])


SHARES = st.tuples(st.floats(0, 100), st.integers(1, 5000)).map(lambda x: share(*x))


@given(SHARES, SHARES)
def test_what_is_told_apart_has_an_interval_without_zero_and_the_other_way_round(a, b):
    gap = difference(a, b)
    assert gap.low <= gap.mean <= gap.high
    assert told_apart(a, b) == told_apart(b, a) == (gap.low > 0 or gap.high < 0)
    assert not told_apart(a, a)
    assert a.low <= a.mean <= a.high and a.low >= 0 and a.high <= 100


def test_intervals_over_examples_are_those_of_the_literature():
    # Newcombe 1998, Table II, method 10: 56/70 against 48/80 is 0.0524 to 0.3339.
    found = difference(share(80.0, 70), share(60.0, 80))
    assert (found.low, found.high) == pytest.approx((5.24, 33.39), abs=0.01)
    assert average([found]) == found
    one = share(70.0, 400)
    assert average([one] * 4).high - 70 == pytest.approx((one.high - 70) / 2)


@given(
    st.integers(0, 300).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(0, n), min_size=2, max_size=4), min_size=2, max_size=2
        )
    )
)
def test_learned_tasks(rights):
    """A task is unlearned where every model is at chance, whatever another task is."""
    rows = [
        score_row("text", f"m{m}", i, accuracy=x / 3, n_test=300)
        for m, seeds in enumerate(rights)
        for i, x in enumerate(seeds)
    ]
    found = outcomes([*rows, score_row("image", "m0", accuracy=90.0)])
    assert unlearned(found) == (
        {"text"} if {found[f"m{m}", "text"].verdict for m in (0, 1)} == {"FAIL"} else set()
    )
