"""Noisy recall: pairs of a key and its value, again and again, with noise between them.

After Poli et al. 2024, "Mechanistic Design and Scaling of Hybrid Architectures" (arXiv:2403.17844);
athms/mad-lab at 0f49a45, mad/data/instances.py, generate_noisy_in_context_recall_instance with
`multi_query`. The value of a key that came before is to be predicted. Noise is of two tokens, as a
pair is, of a part of the vocabulary of its own.

There keys are drawn from all of theirs, and several may have one value. Here an example has some of
the keys (as many as `pairs` says), and their values differ.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.schema import Settings
from lra.data.recall import drawn
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 1000  # examples per chunk


class NoisyRecallConfig(Settings):
    """The distribution of examples; the defaults are MAD-lab's."""

    max_length: int = Field(128, ge=4, le=65536, multiple_of=2, description="tokens of an example")
    vocab_size: int = Field(32, ge=4, le=256, description="keys, values and noise")
    noise_vocab_size: int = Field(16, ge=1, description="how many of these are noise")
    noise: float = Field(0.2, ge=0, lt=1, description="share of pairs that are noise")
    pairs: list[int] = Field([8], min_length=1, description="keys; an example has one of these")

    @property
    def keys(self) -> int:
        return (self.vocab_size - self.noise_vocab_size) // 2

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.keys < 1:
            raise ValueError(
                f"noise_vocab_size {self.noise_vocab_size}: leaves no keys and values of the "
                f"vocab_size {self.vocab_size}"
            )
        for pairs in self.pairs:
            if not 1 <= pairs <= self.keys:
                raise ValueError(f"pairs {pairs}: there are {self.keys} keys")
        return self


Config = NoisyRecallConfig


def chunk(config: NoisyRecallConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens, counted (1 at the value of a key that came before) and label, the number of
    keys that were drawn from.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    places, every = config.max_length // 2, np.arange(CHUNK)[:, None]
    labels = rng.choice(config.pairs, CHUNK)
    keys = drawn(rng, np.zeros(config.keys), CHUNK, max(config.pairs))  # (CHUNK, pairs)
    values = drawn(rng, np.zeros(config.keys), CHUNK, max(config.pairs))
    which = rng.integers(labels[:, None], size=(CHUNK, places))  # of the example's pairs
    noisy = rng.random((CHUNK, places)) < config.noise
    noisy[:, [0, -1]] = False
    # the last pair asks for a key that came before, drawn from where a pair is, so there is one
    earlier = np.where(noisy, -1.0, rng.random((CHUNK, places)))[:, :-1].argmax(1)
    which[:, -1] = which[every[:, 0], earlier]
    pairs = np.stack([keys[every, which], config.keys + values[every, which]], 2)
    noise = rng.integers(2 * config.keys, config.vocab_size, pairs.shape)
    tokens = np.where(noisy[:, :, None], noise, pairs).astype(np.uint8)
    counted = np.zeros_like(tokens)
    counted[:, :, 1] = again(np.where(noisy, -1, which))
    shape = (CHUNK, config.max_length)
    return grid_table(tokens.reshape(shape), labels, counted.reshape(shape))


def again(which: np.ndarray) -> np.ndarray:
    """Of (rows, places), where a value stands that its row had before; never at -1."""
    order = np.argsort(which, axis=1, kind="stable")
    ranked = np.take_along_axis(which, order, 1)
    again = np.zeros(which.shape, bool)
    same = (ranked[:, 1:] == ranked[:, :-1]) & (ranked[:, 1:] >= 0)
    np.put_along_axis(again, order[:, 1:], same, 1)
    return again


def info(config: NoisyRecallConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info(
        "noisy_recall",
        ("noisy_recall", VERSION),
        config,
        config.vocab_size,
        config.max_length,
        source="generated after athms/mad-lab, mad/data/instances.py",
    )
