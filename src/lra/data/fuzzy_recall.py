"""Fuzzy recall: keys and values of one to three tokens, again and again.

After Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (arXiv:2403.17844);
athms/mad-lab at 0f49a45, mad/data/instances.py, generate_fuzzy_in_context_recall_instance with
`multi_query`. No token comes twice in one key or value. The tokens of the value of a key that came
before are to be predicted. A key may begin as another one does, so where it ends is told by the
value after it, whose tokens are others.

There keys are drawn from all of theirs, so that few come twice beside the one that is asked last,
and tests have longest keys alone. Here an example has some of the keys (as many as `pairs` says),
and all splits are alike. Blanks come first, where the last pair ends before the example does.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.schema import Settings
from lra.data.noisy_recall import again
from lra.data.recall import drawn
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 1000  # examples per chunk
BLANK = 0


class FuzzyRecallConfig(Settings):
    """The distribution of examples; vocabulary and lengths are MAD-lab's."""

    max_length: int = Field(128, ge=4, le=65536, description="tokens of every example")
    vocab_size: int = Field(16, ge=5, le=32, description="the blank, keys and values")
    longest: int = Field(3, ge=1, le=3, description="tokens of a key or a value, at most")
    pairs: list[int] = Field([8], min_length=1, description="keys; an example has one of these")

    @property
    def keys(self) -> int:
        return (self.vocab_size - 1) // 2

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.longest > self.keys:
            raise ValueError(f"longest {self.longest}: there are {self.keys} tokens of keys")
        fit = self.max_length // (2 * self.longest)
        for pairs in self.pairs:
            if not 1 <= pairs < fit:  # so that one comes twice
                raise ValueError(
                    f"pairs {pairs}: from 1 to {fit - 1}, because only {fit} of the longest have "
                    f"room in max_length {self.max_length}"
                )
            if pairs > len(_sequences(self.keys, self.longest)):
                raise ValueError(f"pairs {pairs}: there are not as many different keys")
        return self


Config = FuzzyRecallConfig


@lru_cache
def _sequences(tokens: int, longest: int) -> np.ndarray:
    """All sequences of 1 to `longest` different ones of so many tokens, -1 after the last."""
    found = [
        [*each, *[-1] * (longest - size)]
        for size in range(1, longest + 1)
        for each in permutations(range(tokens), size)
    ]
    return np.array(found)


def _weights(sequences: np.ndarray) -> np.ndarray:
    """The logarithms of what makes each length as likely as the others."""
    size = (sequences >= 0).sum(1)
    return -np.log(np.bincount(size)[size])


def chunk(config: FuzzyRecallConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 in the value of a key that came before) and label, the number of
    keys that were drawn from.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    length, most = config.max_length, max(config.pairs)
    labels = rng.choice(config.pairs, CHUNK)
    key = _sequences(config.keys, config.longest)
    value = _sequences(config.vocab_size - 1 - config.keys, config.longest)
    keys = key[drawn(rng, _weights(key), CHUNK, most)]  # (CHUNK, pairs, longest)
    chances = np.exp(_weights(value)) / config.longest
    values = value[rng.choice(len(value), (CHUNK, most), p=chances)]
    keys, values = (
        np.where(each < 0, -1, each + first)
        for each, first in ((keys, 1), (values, 1 + config.keys))
    )
    which = rng.integers(labels[:, None], size=(CHUNK, length // 2))  # more than have room
    every = np.arange(CHUNK)[:, None]
    pairs = np.concatenate([keys, values], 2)[every, which]  # (CHUNK, places, 2 longest)
    asked = np.zeros(pairs.shape, bool)
    asked[:, :, config.longest :] = again(which)[:, :, None]
    ends = (pairs >= 0).sum(2).cumsum(1)
    real = (pairs >= 0) & (ends <= length)[:, :, None]
    tokens, counted = np.full((CHUNK, length), BLANK, np.uint8), np.zeros((CHUNK, length), np.uint8)
    real, pairs, asked = (each.reshape(CHUNK, -1) for each in (real, pairs, asked))
    # the blanks come first; row by row, as the real tokens are
    own = np.arange(length) >= length - real.sum(1)[:, None]
    tokens[own], counted[own] = pairs[real], asked[real]
    return grid_table(tokens, labels, counted)


def info(config: FuzzyRecallConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info(
        "fuzzy_recall",
        ("fuzzy_recall", VERSION),
        config,
        config.vocab_size,
        config.max_length,
        source="generated after athms/mad-lab, mad/data/instances.py",
    )
