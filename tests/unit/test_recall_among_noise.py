"""Noisy recall, fuzzy recall and the needle, read token by token with a dictionary."""

from __future__ import annotations

import numpy as np
import pytest

from lra.data import fuzzy_recall, needle, noisy_recall


def rows(module, **options) -> list[tuple[list[int], list[int], int]]:
    table = module.chunk(module.Config(**options), 5, 0)
    return list(zip(*(table[n].to_pylist() for n in ("tokens", "counted", "label")), strict=True))


def test_noisy_recall_asks_for_the_value_of_each_key_that_came_before():
    """6 keys, 6 values, 8 of noise."""
    found = rows(noisy_recall, max_length=24, vocab_size=20, noise_vocab_size=8, noise=0.3, pairs=[2, 6])  # fmt: skip
    noise = 0
    for tokens, marks, pairs in found:
        memory: dict[int, int] = {}
        for place in range(0, 24, 2):
            key, value = tokens[place : place + 2]
            assert not marks[place]
            if key >= 12:
                noise += 1
                assert value >= 12 and not marks[place + 1]
                continue
            assert key < 6 <= value < 12
            assert marks[place + 1] == (key in memory)
            assert memory.setdefault(key, value) == value
        assert marks[-1] and 1 <= len(memory) <= pairs
        assert len(set(memory.values())) == len(memory)
    assert noise / (len(found) * 10) == pytest.approx(0.3, abs=0.02)  # neither first nor last


def test_fuzzy_recall_asks_for_the_values_of_keys_that_came_before():
    """A key's tokens are 1 to 7, a value's 8 to 15."""
    found = rows(fuzzy_recall, max_length=40, vocab_size=16, longest=3, pairs=[2, 4])
    lengths = {"key": set(), "value": set()}
    for tokens, marks, pairs in found:
        memory: dict[tuple, list[int]] = {}
        place = next(i for i, token in enumerate(tokens) if token)
        assert place < 6 and not any(marks[:place])
        while place < 40:
            ends = []
            for least, most in ((1, 8), (8, 16)):
                first = place if not ends else ends[0]
                end = first
                while end < 40 and least <= tokens[end] < most:
                    end += 1
                ends.append(end)
            key, value = tokens[place : ends[0]], tokens[ends[0] : ends[1]]
            assert 1 <= len(set(key)) == len(key) <= 3 and 1 <= len(set(value)) == len(value) <= 3
            assert not any(marks[place : ends[0]])
            assert set(marks[ends[0] : ends[1]]) == {int(tuple(key) in memory)}
            assert memory.setdefault(tuple(key), value) == value
            lengths["key"].add(len(key)), lengths["value"].add(len(value))
            place = ends[1]
        assert any(marks) and len(memory) <= pairs
    assert lengths == {"key": {1, 2, 3}, "value": {1, 2, 3}}


def test_fuzzy_recalls_keys_are_as_often_of_each_length():
    found = rows(fuzzy_recall, max_length=40, vocab_size=16, longest=3, pairs=[1])
    keys = [next(i for i, t in enumerate(filter(None, tokens)) if t >= 8) for tokens, *_ in found]
    assert np.bincount(keys, minlength=4)[1:] / len(keys) == pytest.approx(1 / 3, abs=0.07)


def test_the_needle_is_found_where_its_key_stands_and_the_label_says_how_far_back():
    """16 keys, 16 values, 32 of noise."""
    found = rows(needle, max_length=64, vocab_size=64)
    for tokens, marks, label in found:
        key, answer = tokens[-2:]
        (place,) = (i for i, token in enumerate(tokens[:-2]) if token < 32 and token < 16)
        assert tokens[place] == key < 16 <= answer < 32 and tokens[place + 1] == answer
        others = tokens[:place] + tokens[place + 2 : -2]
        assert min(others) >= 32
        assert marks == [0] * 63 + [1]
        back = 63 - (place + 1)
        assert label == 16 * -(-back // 16)
    assert {label for *_, label in found} == {16, 32, 48, 64}
