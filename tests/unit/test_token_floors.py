"""What the generated tasks of tokens cost without a network, beside the same by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lra.data import markov
from lra.data.generate import generate_dataset
from lra.data.split import read_split
from lra.evaluation.floors import candidates, floors

SIZES = {"train": 800, "val": 10, "test": 300}


def made(tmp_path, source: str, **options):
    generate_dataset(source, options, SIZES, 0, tmp_path)
    return {floor.kind: floor for floor in floors(tmp_path)}, read_split(tmp_path / "test.arrow")


@pytest.mark.parametrize(
    ("source", "options", "answers"),
    [
        ("copying", {"vocab_size": 10}, 8),
        ("selective_copying", {"max_length": 64}, 14),
        ("fuzzy_recall", {"max_length": 64}, 8),
        ("needle", {"vocab_size": 32}, 8),
    ],
)
def test_uniform_is_over_what_can_be_an_answer(tmp_path, source, options, answers):
    found, _ = made(tmp_path, source, **options)
    assert found.keys() == {"uniform"}
    assert found["uniform"].bits == math.log2(answers)
    assert found["uniform"].accuracy == 100 / answers


def test_noisy_recall_has_a_guess_of_the_keys_values(tmp_path):
    found, test = made(tmp_path, "noisy_recall", max_length=32, pairs=[2, 8])
    answers = test.counted.values.reshape(-1, 32).sum(1)
    bits = sum(n * math.log2(pairs) for n, pairs in zip(answers, test.labels, strict=True))
    assert found["uniform"].bits == 3
    assert found["a value of the context"].bits == pytest.approx(bits / answers.sum())


def test_the_texts_own_model_costs_what_its_probabilities_say(tmp_path):
    found, test = made(tmp_path, "markov", max_length=20)
    tokens = test.towers[0].values.reshape(-1, 20)
    bits = -markov.log_likelihood(test.info, tokens).sum() / math.log(2) / tokens.size
    own = found["the text's own model"].bits
    assert own == pytest.approx(bits) and own < found["token frequencies"].bits - 0.5
    assert found["token frequencies"].bits < found["uniform"].bits == 4


@pytest.mark.parametrize("backwards", [False, True])
def test_additions_first_digit_is_0_or_1_and_a_guess_knows(tmp_path, backwards):
    found, _ = made(tmp_path, "addition", digits=3, reversed=backwards)
    assert found["uniform"].bits == math.log2(10)
    # a bit, and two of digits that are nearly uniform; the next ones lean a little
    assert found["digit frequencies"].bits == pytest.approx((1 + 3 * math.log2(10)) / 4, abs=0.06)


def test_sudokus_candidates_are_what_row_column_and_box_leave(tmp_path):
    found, test = made(tmp_path, "sudoku", box_rows=2, box_columns=3, blanks=[14, 20])
    counts = []
    for puzzle in test.towers[0].values.reshape(-1, 72)[:, :36].reshape(-1, 6, 6):
        for row, column in np.argwhere(puzzle == 0):
            top, left = row // 2 * 2, column // 3 * 3
            box = puzzle[top : top + 2, left : left + 3].ravel()
            seen = {0, *puzzle[row], *puzzle[:, column], *box}
            counts.append(7 - len(seen))
    assert candidates(test).tolist() == counts and min(counts) >= 1
    rules = found["the rules"]
    assert rules.bits == pytest.approx(np.mean(np.log2(counts)))
    assert rules.accuracy == pytest.approx(100 * np.mean(1 / np.array(counts)))
    assert found["uniform"].bits == math.log2(6)
