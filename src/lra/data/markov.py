"""Text of a hidden Markov model that is known, and with it the probability of every text.

The hidden state moves to one of few others and writes one of few symbols, each with a fixed
probability, so that most texts are impossible. Masked diffusion writes such text at a cost for each
token in a constant number of steps, but a possible text only in steps in proportion to its length
(Feng et al. 2025, arXiv:2502.09622).
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
CHUNK = 1000  # examples per chunk
LONG = (1000, 1024)  # texts and their symbols, by which the entropy rate is known


class MarkovConfig(Settings):
    """The hidden Markov model, and how long its texts are."""

    max_length: int = Field(128, ge=2, le=65536, description="tokens of every example")
    vocab_size: int = Field(16, ge=2, le=256, description="symbols")
    states: int = Field(8, ge=1, le=256, description="of the hidden chain")
    moves: int = Field(2, ge=1, description="states that a state moves to")
    writes: int = Field(4, ge=1, description="symbols that a state writes")
    model: int = Field(0, ge=0, description="seed of the probabilities: the same for all splits")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for key, most in (("moves", self.states), ("writes", self.vocab_size)):
            if getattr(self, key) > most:
                raise ValueError(f"{key} {getattr(self, key)}: there are {most}")
        return self


Config = MarkovConfig


def model_of(config: MarkovConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of the first state (S,), stationary, of moves (S, S) and of symbols (S, V).

    Each state can move to the one after it, in a circle, so that each is reached from each.
    """
    rng = np.random.Generator(np.random.PCG64(config.model))
    states = np.arange(config.states)
    moves = np.zeros((config.states, config.states))
    writes = np.zeros((config.states, config.vocab_size))
    for state in states:
        after = (state + 1) % config.states
        others = rng.permutation(states[states != after])[: config.moves - 1]
        moves[state, [after, *others]] = rng.dirichlet(np.ones(config.moves))
        symbols = rng.permutation(config.vocab_size)[: config.writes]
        writes[state, symbols] = rng.dirichlet(np.ones(config.writes))
    # p moves = p, and p sums to 1
    equations = np.vstack([moves.T - np.eye(config.states), np.ones(config.states)])
    first = np.linalg.lstsq(equations, np.append(np.zeros(config.states), 1), rcond=None)[0]
    return first, moves, writes


def chunk(config: MarkovConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens and label, which is 0. All tokens are to be predicted.
    """
    rng = np.random.Generator(np.random.PCG64([seed, index]))
    tokens = written(config, rng, CHUNK, config.max_length)
    return grid_table(tokens, np.zeros(CHUNK, np.int64))


def written(config: MarkovConfig, rng: np.random.Generator, count: int, length: int) -> np.ndarray:
    """So many texts: (count, length) uint8"""
    first, moves, writes = (_ends(each) for each in model_of(config))
    tokens = np.empty((count, length), np.uint8)
    state = (rng.random((count, 1)) >= first).sum(1)
    for place in range(length):
        chance = rng.random((2, count, 1))
        tokens[:, place] = (chance[0] >= writes[state]).sum(1)
        state = (chance[1] >= moves[state]).sum(1)
    return tokens


def _ends(chances: np.ndarray) -> np.ndarray:
    """Where each outcome's part of [0, 1) ends; what has no chance has no part."""
    ends = chances.cumsum(-1)
    return ends / ends[..., -1:]


def costs(config: MarkovConfig, tokens: np.ndarray) -> np.ndarray:
    """-log p of each token given those before it, of texts (B, N), by the forward algorithm: (B, N)
    nats, infinite from where a text has become impossible."""
    first, moves, writes = model_of(config)
    found = np.empty(tokens.shape)
    belief = np.broadcast_to(first, (len(tokens), config.states))  # of the state, before its symbol
    for place in range(tokens.shape[1]):
        joint = belief * writes.T[tokens[:, place]]
        chance = joint.sum(1)
        with np.errstate(divide="ignore"):
            found[:, place] = -np.log(chance)
        belief = joint / np.where(chance > 0, chance, 1)[:, None] @ moves
    return found


def log_likelihood(info: Info, tokens: np.ndarray) -> np.ndarray:
    """log p of texts (B, N) under the model of this split: (B,) nats, -inf where impossible."""
    return -costs(MarkovConfig(**info.generator["config"]), tokens).sum(1)


def entropy_rate(config: MarkovConfig) -> float:
    """Bits for each token, far from the beginning of a text: the mean over the last halves of long
    texts of the model's own."""
    tokens = written(config, np.random.Generator(np.random.PCG64(0)), *LONG)
    return float(costs(config, tokens)[:, LONG[1] // 2 :].mean() / np.log(2))


def info(config: MarkovConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info("markov", ("markov", VERSION), config, config.vocab_size, config.max_length)
