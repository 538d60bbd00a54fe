"""The paired tests, against those of scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest, permutation_test, ttest_1samp

from lra.stats import paired
from tiny import examples

TRIALS = 100
ANSWERS = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)).flatmap(
    lambda n: st.tuples(arrays(bool, (n[0], n[2])), arrays(bool, (n[1], n[2])))
)


@given(ANSWERS)
@examples(60)
def test_p_is_that_of_every_swap(answers):
    a, b = answers
    result = paired.examples(a, b)
    assert result.difference == pytest.approx(100 * (a.mean() - b.mean()))
    if a.shape[1] > 1:
        exact = permutation_test(
            (a.sum(0) * len(b), b.sum(0) * len(a)),  # whole numbers: fractions would not tie
            lambda x, y, axis: np.abs(np.sum(x - y, axis=axis)),
            permutation_type="samples",
            alternative="greater",
            n_resamples=np.inf,
        )
        assert result.p == pytest.approx(exact.pvalue)
    other = paired.examples(b, a)
    assert other.p == pytest.approx(result.p) and other.difference == -result.difference


def test_of_one_seed_each_it_is_mcnemars_test():
    a = np.array([[True] * 30 + [False] * 12 + [True] * 50])
    b = np.array([[False] * 30 + [True] * 12 + [True] * 50])
    assert paired.examples(a, b).p == pytest.approx(binomtest(12, 42).pvalue)


def test_copies_of_a_seed_add_no_certainty():
    random = np.random.default_rng(7)
    a, b = random.random((1, 500)) < 0.7, random.random((1, 500)) < 0.65
    copied, once = paired.examples(np.repeat(a, 4, 0), np.repeat(b, 4, 0)), paired.examples(a, b)
    assert copied.p == pytest.approx(once.p)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Two models that are right independently, 70 and 66 %: a difference of 4 points."""
    random = np.random.default_rng(5)
    found = [
        paired.examples(random.random((2, 400)) < 0.70, random.random((2, 400)) < 0.66)
        for _ in range(TRIALS)
    ]
    covered = sum(r.low <= 4 <= r.high for r in found)
    assert 0.89 * TRIALS < covered < 0.995 * TRIALS
    singles = [paired.accuracy_interval(random.random((1, 400)) < 0.7) for _ in range(TRIALS)]
    assert sum(low <= 70 <= high for low, high in singles) > 0.91 * TRIALS
    several = [paired.accuracy_interval(random.random((3, 400)) < 0.7) for _ in range(TRIALS)]
    assert 0.89 * TRIALS < sum(low <= 70 <= high for low, high in several) < 0.995 * TRIALS


def test_no_error_and_no_difference():
    right = np.ones((1, 100), bool)
    low, high = paired.accuracy_interval(right)
    assert high == 100 and low == pytest.approx(100 * 0.025 ** (1 / 100))
    assert paired.examples(right, right) == paired.Paired(0, 0, 0, 1)


def test_over_seeds_it_is_the_t_test_of_the_differences():
    a, b = [60.1, 61.4, 59.9], [58.0, 60.5, 59.0]
    result = paired.seeds(a, b)
    wanted = ttest_1samp(np.subtract(a, b), 0)
    low, high = wanted.confidence_interval()
    assert (result.low, result.high, result.p) == pytest.approx((low, high, wanted.pvalue))
    assert paired.seeds([60.0], [50.0]) is None
    assert paired.seeds([60.0, 61.0], [60.0, 61.0]) == paired.Paired(0, None, None, 1)
    assert paired.seeds([60.0, 61.0], [59.0, 60.0]) == paired.Paired(1, None, None, 0.5)
    assert paired.seeds([60.0, 61.0, 62.0], [59.0, 60.0, 61.0]).p == 0.25


@pytest.mark.parametrize("shape", [(4,), (1, 5), (0, 4)])
def test_what_does_not_pair_is_refused(shape):
    with pytest.raises(ValueError):
        paired.examples(np.ones((1, 4), bool), np.ones(shape, bool))
    with pytest.raises(ValueError):
        paired.seeds([1.0, 2.0], [1.0])


def test_holm():
    assert paired.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0] and paired.holm([]) == []
