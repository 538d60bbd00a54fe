"""Copying: some random symbols, a separator, and the same symbols again, which are to be predicted.

Two layers of attention copy strings that no state of a fixed size can hold (Jelassi et al. 2024,
arXiv:2402.01032). The second half depends on the first alone, so that its tokens are independent of
each other given the prompt. Blanks come first, where an example copies less than there is room for:
the answers are the last tokens of every example.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.schema import Settings
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 200  # examples per chunk
BLANK, SEPARATOR, FIRST = 0, 1, 2  # FIRST: the first symbol


class CopyConfig(Settings):
    """The distribution of examples."""

    max_length: int = Field(64, ge=3, le=65536, description="tokens of every example")
    vocab_size: int = Field(32, ge=4, le=256, description="with blank and separator")
    copied: list[int] = Field(
        [31], min_length=1, description="symbols; an example has one of these"
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for copied in self.copied:
            if not 1 <= copied <= (self.max_length - 1) // 2:
                raise ValueError(
                    f"copied {copied}: from 1 to {(self.max_length - 1) // 2} symbols have room "
                    f"twice in max_length {self.max_length}"
                )
        return self


Config = CopyConfig


def chunk(config: CopyConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 in the second half) and label, the number of symbols.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    length = config.max_length
    tokens = np.full((CHUNK, length), BLANK, np.uint8)
    counted = np.zeros((CHUNK, length), np.uint8)
    labels = rng.choice(config.copied, CHUNK)
    symbols = rng.integers(FIRST, config.vocab_size, (CHUNK, max(config.copied)), np.uint8)
    for copied in sorted(set(config.copied)):
        rows, prompt = np.flatnonzero(labels == copied), length - 2 * copied - 1
        tokens[rows, prompt : prompt + copied] = symbols[rows, :copied]
        tokens[rows, prompt + copied] = SEPARATOR
        tokens[rows, length - copied :] = symbols[rows, :copied]
        counted[rows, length - copied :] = 1
    return grid_table(tokens, labels, counted)


def info(config: CopyConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info("copy", ("copying", VERSION), config, config.vocab_size, config.max_length)
