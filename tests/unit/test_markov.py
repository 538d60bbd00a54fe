"""Markov: its text is what its probabilities say, and they are those of all hidden paths."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from lra.data import markov

SMALL = markov.Config(max_length=4, vocab_size=3, states=3, moves=2, writes=2)


def by_enumeration(config: markov.MarkovConfig, text: tuple[int, ...]) -> float:
    """p of a text: the sum over all hidden paths."""
    first, moves, writes = markov.model_of(config)
    total = 0.0
    for path in itertools.product(range(config.states), repeat=len(text)):
        chance = first[path[0]]
        for place, symbol in enumerate(text):
            chance *= writes[path[place], symbol]
            if place:
                chance *= moves[path[place - 1], path[place]]
        total += chance
    return total


@pytest.mark.parametrize("model", range(3))
def test_the_likelihood_is_the_sum_over_all_hidden_paths(model):
    config = SMALL.model_copy(update={"model": model, "max_length": 4})
    texts = list(itertools.product(range(3), repeat=4))
    found = np.exp(markov.log_likelihood(markov.info(config), np.array(texts)))
    wanted = [by_enumeration(config, text) for text in texts]
    assert found == pytest.approx(wanted, abs=1e-12)
    assert sum(wanted) == pytest.approx(1)


def test_some_texts_are_impossible_and_none_is_written():
    config = markov.Config(max_length=4)
    texts = np.array(list(itertools.product(range(16), repeat=4)))
    possible = np.isfinite(markov.log_likelihood(markov.info(config), texts))
    assert 0.01 < possible.mean() < 0.5
    tokens = np.array(markov.chunk(config, 7, 0)["tokens"].to_pylist())
    assert np.isfinite(markov.log_likelihood(markov.info(config), tokens)).all()


def test_texts_are_as_frequent_as_they_are_likely():
    config = SMALL.model_copy(update={"max_length": 3, "model": 2})
    rng = np.random.Generator(np.random.PCG64(2))
    tokens = markov.written(config, rng, 40_000, 3)
    count = np.bincount(tokens @ [9, 3, 1], minlength=27)
    texts = np.array(list(itertools.product(range(3), repeat=3)))
    chance = np.exp(markov.log_likelihood(markov.info(config), texts))
    assert not count[chance == 0].any()
    expected = 40_000 * chance[chance > 0]
    distance = ((count[chance > 0] - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert distance < freedom + 4 * math.sqrt(2 * freedom)  # chi-square, four deviations


def test_the_first_state_is_the_stationary_one():
    first, moves, _ = markov.model_of(markov.Config())
    assert first @ moves == pytest.approx(first)
    assert first.sum() == pytest.approx(1) and (first > 0).all()
    assert (moves > 0).sum(1).tolist() == [2] * 8


def test_the_entropy_rate_lies_between_the_costs_with_and_without_the_hidden_state():
    """Cover and Thomas, theorem 4.5.1: at any place, given the first state it is less."""
    config = SMALL.model_copy(update={"model": 1})
    first, moves, writes = markov.model_of(config)
    texts = list(itertools.product(range(3), repeat=4))
    chance = np.array([by_enumeration(config, text) for text in texts])
    costs = markov.costs(config, np.array(texts))[:, -1]
    above = (chance[chance > 0] * costs[chance > 0]).sum() / math.log(2)
    below = 0.0
    for state in range(3):
        start = np.eye(3)[state]
        belief = np.broadcast_to(start, (len(texts), 3))
        joint = np.ones(len(texts))
        for place in range(4):
            seen = belief * writes.T[np.array(texts)[:, place]]
            last = seen.sum(1)
            joint = joint * last
            belief = seen / np.where(last > 0, last, 1)[:, None] @ moves
        real = joint > 0
        below -= first[state] * (joint[real] * np.log2(last[real])).sum()
    assert below - 0.01 < markov.entropy_rate(config) < above + 0.01
