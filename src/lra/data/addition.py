"""Addition: two numbers of as many digits and their sum, whose digits are to be predicted.

All numbers begin with the most significant digit. With `reversed` the sum begins with the least
significant one, so that each digit follows from those before it and a few of the prompt's (Lee et
al. 2023, "Teaching Arithmetic to Small Transformers", arXiv:2307.03381).

Which of two numbers stands first is a function of both, so that no split holds another's sum turned
around.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from lra.core.schema import Settings
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 1000  # examples per chunk
VOCAB = [*"0123456789", "+", "="]
PLUS, EQUALS = 10, 11


class AdditionConfig(Settings):
    """The distribution of examples."""

    digits: int = Field(4, ge=1, le=18, description="of each number, with zeros in front")
    reversed: bool = Field(False, description="the sum begins with its least significant digit")


Config = AdditionConfig


def chunk(config: AdditionConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 in the sum) and label, how many digits of the sum have a carry.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    one, other = rng.integers(10**config.digits, size=(2, CHUNK))
    total = one + other
    turned = (one < other) == (total % 2 == 0)
    first, second = np.where(turned, other, one), np.where(turned, one, other)
    digits, answer = config.digits, _digits(total, config.digits + 1)
    tokens = np.empty((CHUNK, 3 * digits + 3), np.uint8)
    tokens[:, :digits], tokens[:, digits] = _digits(first, digits), PLUS
    tokens[:, digits + 1 : 2 * digits + 1] = _digits(second, digits)
    tokens[:, 2 * digits + 1] = EQUALS
    tokens[:, 2 * digits + 2 :] = answer[:, ::-1] if config.reversed else answer
    counted = np.zeros_like(tokens)
    counted[:, 2 * digits + 2 :] = 1
    ends = 10 ** np.arange(1, digits + 1)
    carries = (one[:, None] % ends + other[:, None] % ends >= ends).sum(1)
    return grid_table(tokens, carries, counted)


def _digits(numbers: np.ndarray, width: int) -> np.ndarray:
    """(B,) -> (B, width), the most significant digit first"""
    return numbers[:, None] // 10 ** np.arange(width)[::-1] % 10


def info(config: AdditionConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info(
        "addition_reversed" if config.reversed else "addition",
        ("addition", VERSION),
        config,
        len(VOCAB),
        3 * config.digits + 3,
        vocab=VOCAB,
    )
