"""A needle: one pair of a key and its value in noise; at the end the key again, then its value.

Keys, values and noise are parts of the vocabulary: a quarter, a quarter and half of it. What a
model has to keep is little, and for how long is what an example differs in.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from lra.core.schema import Settings
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 100  # examples per chunk
PARTS = 4  # of an example, that labels tell apart


class NeedleConfig(Settings):
    """The distribution of examples."""

    max_length: int = Field(256, ge=8, le=65536, multiple_of=PARTS, description="tokens of each")
    vocab_size: int = Field(64, ge=8, le=256, multiple_of=4, description="half of them noise")


Config = NeedleConfig


def chunk(config: NeedleConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 at the last token) and label: how many tokens the answer comes after
    its value, rounded up to a quarter, a half, three quarters or all of an example.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    length, quarter, rows = config.max_length, config.vocab_size // 4, np.arange(CHUNK)
    tokens = rng.integers(2 * quarter, config.vocab_size, (CHUNK, length), np.uint8)
    key, value = rng.integers(0, quarter, CHUNK), rng.integers(quarter, 2 * quarter, CHUNK)
    place = rng.integers(0, length - 3, CHUNK)
    for at, token in ((place, key), (place + 1, value), (length - 2, key), (length - 1, value)):
        tokens[rows, at] = token
    counted = np.zeros_like(tokens)
    counted[:, -1] = 1
    part = length // PARTS
    return grid_table(tokens, part * -(-(length - 2 - place) // part), counted)


def info(config: NeedleConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info("needle", ("needle", VERSION), config, config.vocab_size, config.max_length)
