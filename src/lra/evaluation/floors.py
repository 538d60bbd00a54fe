"""What the tokens of a task cost without a network, in bits for each: what a model has to be below.

- uniform: every token of the vocabulary alike; where some are asked for, each that is an answer in
  train.
- token frequencies (Bytes, Markov): those of train, each count plus one.
- gzip, xz (Bytes): the test split in one piece, by the best setting of each. They see all text
  before a byte, a model only its window.
- a value of the context (Recall, Noisy recall): each value of the example's pairs alike.
- digit frequencies (Addition): those of train at each place of the sum, each count plus one.
- the rules (Sudoku): each digit alike that row, column and box of a cell allow.
- the text's own model (Markov): exact, so that no model is below it but by chance.

A share of right answers stands beside where it follows: in percent, expected of a guess.
"""

from __future__ import annotations

import gzip
import lzma
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lra.data.markov import log_likelihood
from lra.data.split import Split, read_split
from lra.data.sudoku import SudokuConfig


@dataclass
class Floor:
    """Fields as of `lra.evaluation.baselines.Result`."""

    kind: str
    bits: float  # for each token that is to be predicted
    accuracy: float | None = None  # percent
    seconds: float | None = None
    n_train: int | None = None  # examples learned from
    status: str = "ok"
    reason: str | None = None
    val_accuracy: float | None = None
    penalty: float | None = None


def floors(data: Path) -> list[Floor]:
    """Every floor of the task whose splits lie in the folder `data`."""
    train, test = (read_split(data / f"{name}.arrow") for name in ("train", "test"))
    return list(KINDS.get(train.info.task, of_answers)(train, test))


def uniform(options: int) -> Floor:
    return Floor("uniform", float(np.log2(options)), 100 / options)


def of_text(train: Split, test: Split) -> Iterator[Floor]:
    size = test.info.vocab_size
    yield uniform(size)
    started = time.monotonic()
    bits, right = frequencies(train.towers[0].values[:, None], test.towers[0].values[:, None], size)
    yield Floor("token frequencies", bits, right, time.monotonic() - started, len(train))


def frequencies(known: np.ndarray, asked: np.ndarray, size: int) -> tuple[float, float]:
    """Bits for each and percent right of tokens `asked` (B, places) by how often those of `known`
    stand at the same place, each count plus one."""
    bits = right = 0.0
    for of_train, of_test in zip(known.T, asked.T, strict=True):
        share = (1 + np.bincount(of_train, minlength=size)) / (len(known) + size)
        counts = np.bincount(of_test, minlength=size)
        bits -= float((counts * np.log2(share)).sum())
        right += int(counts[share.argmax()])
    return bits / asked.size, 100 * right / asked.size


def of_bytes(train: Split, test: Split) -> Iterator[Floor]:
    yield from of_text(train, test)
    content = test.towers[0].values.tobytes()
    for kind, pack in (
        ("gzip", lambda text: gzip.compress(text, 9, mtime=0)),
        ("xz", lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)),
    ):
        started = time.monotonic()
        bits = 8 * len(pack(content)) / len(content)
        yield Floor(kind, bits, seconds=time.monotonic() - started)


def of_recall(train: Split, test: Split) -> Iterator[Floor]:
    values = test.info.vocab_size - test.info.vocab_size // 2
    yield uniform(values)
    yield of_context(test)


def of_context(test: Split) -> Floor:
    answers = rows(test, test.counted.values).sum(1)
    bits = float((answers * np.log2(test.labels)).sum() / answers.sum())
    right = float((answers / test.labels).sum() / answers.sum())
    return Floor("a value of the context", bits, 100 * right)


def rows(split: Split, values: np.ndarray) -> np.ndarray:
    """Tokens or marks of a split, where every example has one length: (examples, tokens)"""
    return values.reshape(len(split), -1)


def of_answers(train: Split, test: Split) -> Iterator[Floor]:
    answers = train.towers[0].values[train.counted.values.astype(bool)]
    yield uniform(len(np.unique(answers)))


def of_noisy_recall(train: Split, test: Split) -> Iterator[Floor]:
    yield from of_answers(train, test)
    yield of_context(test)


def of_markov(train: Split, test: Split) -> Iterator[Floor]:
    yield from of_text(train, test)
    started = time.monotonic()
    tokens = rows(test, test.towers[0].values)
    bits = float(-log_likelihood(test.info, tokens).sum() / np.log(2) / tokens.size)
    yield Floor("the text's own model", bits, seconds=time.monotonic() - started)


def of_addition(train: Split, test: Split) -> Iterator[Floor]:
    yield from of_answers(train, test)
    started = time.monotonic()
    known, asked = (
        rows(split, split.towers[0].values)[:, rows(split, split.counted.values)[0] > 0]
        for split in (train, test)
    )
    bits, right = frequencies(known, asked, test.info.vocab_size)
    yield Floor("digit frequencies", bits, right, time.monotonic() - started, len(train))


def of_sudoku(train: Split, test: Split) -> Iterator[Floor]:
    yield from of_answers(train, test)
    started = time.monotonic()
    options = candidates(test)
    bits, right = float(np.log2(options).mean()), float((1 / options).mean())
    yield Floor("the rules", bits, 100 * right, time.monotonic() - started)


def candidates(test: Split) -> np.ndarray:
    """How many digits each blank of the puzzles could have, by row, column and box alone."""
    config = SudokuConfig(**test.info.generator["config"])
    n, across = config.size, config.box_rows  # as many boxes stand beside each other
    puzzles = rows(test, test.towers[0].values)[:, : n * n].reshape(-1, n, n)
    has = puzzles[..., None] == np.arange(1, n + 1)  # (B, n, n, digits)
    boxes = has.reshape(-1, n // across, across, across, n // across, n)
    taken = has.any(1, keepdims=True) | has.any(2, keepdims=True)
    taken = taken | np.broadcast_to(boxes.any((2, 4), keepdims=True), boxes.shape).reshape(
        has.shape
    )
    return (~taken).sum(-1)[puzzles == 0]


KINDS = {  # by task; others have `of_answers`
    "bytes": of_bytes,
    "recall": of_recall,
    "noisy_recall": of_noisy_recall,
    "markov": of_markov,
    "addition": of_addition,
    "addition_reversed": of_addition,
    "sudoku": of_sudoku,
}
