"""Addition: sums by Python's own integers, in either order."""

from __future__ import annotations

import pytest

from lra.data import addition


def sums(digits: int, backwards: bool, count: int = 1):
    config = addition.Config(digits=digits, reversed=backwards)
    for index in range(count):
        table = addition.chunk(config, 6, index)
        names = ("tokens", "counted", "label")
        for tokens, marks, carries in zip(*(table[n].to_pylist() for n in names), strict=True):
            text = "".join(addition.VOCAB[token] for token in tokens)
            first, rest = text.split("+")
            second, total = rest.split("=")
            assert len(first) == len(second) == digits and len(total) == digits + 1
            assert marks == [0] * (2 * digits + 2) + [1] * (digits + 1)
            yield first, second, total[::-1] if backwards else total, carries


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("digits", [1, 4, 18])
def test_the_sum_is_right_and_the_label_counts_its_carries(digits, backwards):
    seen = set()
    for first, second, total, carries in sums(digits, backwards):
        assert int(first) + int(second) == int(total)
        carry = count = 0
        for one, other in zip(first[::-1], second[::-1], strict=True):
            carry = (int(one) + int(other) + carry) // 10
            count += carry
        assert count == carries
        seen.add(carries)
    assert len(seen) > min(digits, 9)


def test_both_orders_are_of_the_same_numbers():
    assert list(sums(4, False)) == list(sums(4, True))


def test_no_sum_comes_turned_around_and_the_larger_number_is_as_often_first():
    pairs = {(first, second) for first, second, *_ in sums(2, False, 10)}
    assert not {pair for pair in pairs if pair[0] != pair[1] and pair[::-1] in pairs}
    assert len(pairs) > 4000  # of 5,050
    larger = sum(first > second for first, second in pairs) / len(pairs)
    assert larger == pytest.approx(0.5, abs=0.03)
