"""Copying and selective copying, read as a person would."""

from __future__ import annotations

import numpy as np
import pytest

from lra.data import copying, selective_copying


def rows(module, **options) -> list[tuple[list[int], list[int], int]]:
    table = module.chunk(module.Config(**options), 5, 0)
    return list(zip(*(table[n].to_pylist() for n in ("tokens", "counted", "label")), strict=True))


def test_copying_says_the_symbols_after_the_separator_again():
    found = rows(copying, max_length=20, vocab_size=8, copied=[2, 5, 9])
    for tokens, marks, copied in found:
        place = tokens.index(1)
        assert tokens.count(1) == 1 and len(tokens) == 20
        first, second = tokens[place - copied : place], tokens[place + 1 :]
        assert first == second and len(first) == copied
        assert set(first) <= set(range(2, 8)) and not any(tokens[: place - copied])
        assert [i for i, mark in enumerate(marks) if mark] == list(range(place + 1, 20))
    assert {label for *_, label in found} == {2, 5, 9}
    assert {token for tokens, *_ in found for token in tokens} == set(range(8))


def test_selective_copying_says_the_symbols_without_the_blanks_between_them():
    found = rows(selective_copying, max_length=30, vocab_size=8, copied=[3, 6])
    for tokens, marks, copied in found:
        place = tokens.index(1)
        said = [token for token in tokens[:place] if token != 0]
        assert said == tokens[place + 1 :] and len(said) == copied and min(said) >= 2
        assert [i for i, mark in enumerate(marks) if mark] == list(range(place + 1, 30))
    assert {label for *_, label in found} == {3, 6}


def test_selective_copyings_symbols_are_as_likely_at_each_place():
    found = rows(selective_copying, max_length=30, vocab_size=8, copied=[6])
    share = (np.array([tokens[:23] for tokens, *_ in found]) > 0).mean(0)
    assert share == pytest.approx(6 / 23, abs=0.07)
