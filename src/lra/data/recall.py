"""Associative recall of several keys: which value followed this key before?

Multi-query associative recall of Arora et al. 2023, "Zoology" (arXiv:2312.04927);
HazyResearch/zoology at d88d6f5, zoology/data/associative_recall.py. An example begins with pairs of
a key and its value. Then each key comes once more, at places that a power law prefers near the
pairs, and its value after it. These values are what is to be predicted. All other places hold
random tokens.

The lower half of the vocabulary are keys, but for token 0, the upper half values. There the answer
is no part of the input but a target beside it; here it is the next token, so that one sequence
serves every objective, and the random token in its place is gone.
"""

from __future__ import annotations

import itertools
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.schema import Settings
from lra.data.generate import take
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 1000  # examples per chunk


class RecallConfig(Settings):
    """The distribution of examples; the defaults are the smallest of the paper's."""

    max_length: int = Field(64, ge=4, description="tokens of every example")
    vocab_size: int = Field(8192, ge=4, le=65536, description="half of them keys, half values")
    pairs: list[int] = Field([4], min_length=1, description="pairs; an example has one of these")
    power: float = Field(0.01, gt=0, description="a place's weight is its number ^ (power - 1)")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for pairs in self.pairs:
            if not 1 <= pairs < self.vocab_size // 2:
                raise ValueError(f"pairs {pairs}: there are {self.vocab_size // 2 - 1} keys")
            if 4 * pairs > self.max_length:
                raise ValueError(
                    f"pairs {pairs}: need {4 * pairs} tokens with their queries, and max_length is "
                    f"{self.max_length}"
                )
        return self


Config = RecallConfig


def chunk(config: RecallConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 at a value that is to be predicted) and label, the number of pairs.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    kind = np.uint8 if config.vocab_size <= 256 else np.uint16
    shape = (CHUNK, config.max_length)
    tokens = rng.integers(1, config.vocab_size, shape, kind)
    counted = np.zeros(shape, np.uint8)
    labels = rng.choice(config.pairs, CHUNK)
    for pairs in sorted(set(config.pairs)):
        rows = np.flatnonzero(labels == pairs)
        _put(tokens, counted, rows, pairs, config, rng)
    return grid_table(tokens, labels, counted)


def _put(
    tokens: np.ndarray,
    counted: np.ndarray,
    rows: np.ndarray,
    pairs: int,
    config: RecallConfig,
    rng: np.random.Generator,
) -> None:
    """Write pairs and queries into these rows of tokens (CHUNK, N), and mark the answers."""
    half, row = config.vocab_size // 2, rows[:, None]
    keys = 1 + drawn(rng, np.zeros(half - 1), len(rows), pairs)
    values = half + drawn(rng, np.zeros(config.vocab_size - half), len(rows), pairs)
    tokens[row, np.arange(0, 2 * pairs, 2)] = keys
    tokens[row, np.arange(1, 2 * pairs, 2)] = values
    places = np.arange(1, (config.max_length - 2 * pairs) // 2 + 1)
    chosen = drawn(rng, (config.power - 1) * np.log(places), len(rows), pairs)
    at = 2 * pairs + 2 * chosen  # (rows, pairs)
    tokens[row, at], tokens[row, at + 1] = keys, values
    counted[row, at + 1] = 1


def drawn(rng: np.random.Generator, weights: np.ndarray, rows: int, count: int) -> np.ndarray:
    """(rows, count) different places each, one after the other by the exponentials of `weights`.

    The largest of the weights with Gumbel noise are such a draw (Vieira 2014).
    """
    noise = rng.gumbel(size=(rows, len(weights))) + weights
    largest = np.argpartition(-noise, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(noise, largest, 1), axis=1)
    return np.take_along_axis(largest, order, 1)


def generate(count: int, seed: int, **overrides: int | float | list[int]) -> pa.Table:
    """`count` different examples, made on one core; `overrides` are fields of `RecallConfig`."""
    config = RecallConfig(**overrides)
    return take(count, (chunk(config, seed, index) for index in itertools.count()))


def info(config: RecallConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info(
        "recall",
        ("recall", VERSION),
        config,
        config.vocab_size,
        config.max_length,
        source="generated after HazyResearch/zoology, zoology/data/associative_recall.py",
    )
