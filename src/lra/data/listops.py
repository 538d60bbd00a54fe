"""ListOps: nested MIN, MAX, MED and SM (sum modulo 10) over digits, answered by one digit.

The task is of Nangia & Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning" (2018); the
long version that is generated here is of Tay et al., "Long Range Arena" (2020), data/listops.py.
"""

from __future__ import annotations

import itertools
from typing import Self

import numpy as np
import pyarrow as pa
from numba import njit
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lra.data.generate import take
from lra.data.store import Info, table_of
from lra.errors import LRAError

VERSION = 1  # of the stream: raise it with any change that alters the examples of a seed
CHUNK = 1000  # examples a chunk
MIN_ACCEPTANCE = 1e-4  # share of trees within the window below which a configuration is refused

# ']' is written X, as the official tokenizer does; '<unk>' never occurs and keeps its 17 ids.
VOCAB = ["<pad>", *sorted([*"0123456789", "[MIN", "[MAX", "[MED", "[SM", "X"]), "<unk>"]
ZERO, CLOSE = VOCAB.index("0"), VOCAB.index("X")
MAX, MED, MIN, SM = (VOCAB.index(name) for name in ("[MAX", "[MED", "[MIN", "[SM"))


class ListOpsConfig(BaseModel):
    """The distribution of expressions; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_length: int = Field(500, ge=0, description="expressions are longer than this, in tokens")
    max_length: int = Field(
        2000, ge=2, le=1_000_000, description="expressions are shorter than this, in tokens"
    )
    max_depth: int = Field(10, ge=1, description="levels of the tree; the deepest holds digits")
    max_args: int = Field(10, ge=1, description="most arguments of an operator")
    min_args: int = Field(2, ge=1, description="fewest arguments of an operator")
    p_operator: float = Field(0.25, ge=0, le=1, description="chance of an operator above max_depth")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_args > self.max_args:
            raise ValueError(f"min_args {self.min_args} is above max_args {self.max_args}")
        if self.max_length - self.min_length < 2:
            raise ValueError(
                f"no length lies between min_length {self.min_length} and max_length "
                f"{self.max_length} (both are exclusive)"
            )
        longest = 1
        for _ in range(self.max_depth - 1):
            longest = 2 + self.max_args * longest
            if longest > self.min_length:
                break
        if longest <= self.min_length:
            raise ValueError(
                f"no expression of max_depth {self.max_depth} and max_args {self.max_args} is "
                f"longer than {longest} tokens, min_length is {self.min_length}"
            )
        return self


Config = ListOpsConfig


@njit(cache=True)
def _uniform(state: np.ndarray) -> float:
    """The next number in [0, 1), 53 bits, of xoshiro256++ (Blackman & Vigna 2019).

    state: (4,) uint64, advanced in place. Our own, because the streams of NumPy's and Numba's
    generators may change with their versions, and data must not.
    """
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    drawn = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    s2 ^= s0
    s3 ^= s1
    state[0], state[1] = s0 ^ s3, s1 ^ s2
    state[2] = s2 ^ (s1 << np.uint64(17))
    state[3] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return (drawn >> np.uint64(11)) * 2.0**-53


@njit(cache=True)
def _grow(
    state: np.ndarray,
    tokens: np.ndarray,
    missing: np.ndarray,
    p_operator: float,
    min_args: int,
    max_args: int,
) -> int:
    """Draw one tree and write its tokens; return its length, or 0 where `tokens` cannot hold it.

    missing: (max_depth,) int64, scratch: arguments still to be drawn at each level. A tree is given
    up as soon as what is drawn implies more tokens than fit; it would have been rejected anyway, so
    the distribution of the others is untouched.
    """
    written, implied, level = 0, 1, 0
    missing[0] = 1
    while True:
        if missing[level] == 0:
            if level == 0:
                return written
            tokens[written] = CLOSE
            written += 1
            level -= 1
            continue
        missing[level] -= 1
        if level + 1 < len(missing) and _uniform(state) < p_operator:
            args = min_args + int(_uniform(state) * (max_args - min_args + 1))
            implied += args + 1  # operator, closing and `args` tokens at least, instead of one
            if implied > len(tokens):
                return 0
            tokens[written] = MAX + int(_uniform(state) * 4)
            level += 1
            missing[level] = args
        else:
            tokens[written] = ZERO + int(_uniform(state) * 10)
        written += 1


@njit(cache=True)
def _evaluate(tokens: np.ndarray, stack: np.ndarray) -> int:
    """The value of an expression, read from right to left: arguments first, then their operator.

    stack: scratch of at least the length of `tokens`; -1 marks a closing bracket.
    """
    top = 0  # of the stack, exclusive
    for i in range(len(tokens) - 1, -1, -1):
        token = tokens[i]
        if token == CLOSE:
            stack[top] = -1
        elif token < CLOSE:
            stack[top] = token - ZERO
        else:
            first, total = top, 0
            while stack[first - 1] >= 0:
                first -= 1
                total += stack[first]
            for j in range(first + 1, top):  # insertion sort: arguments are few
                value, k = stack[j], j
                while k > first and stack[k - 1] > value:
                    stack[k] = stack[k - 1]
                    k -= 1
                stack[k] = value
            if token == MIN:
                value = stack[first]
            elif token == MAX:
                value = stack[top - 1]
            elif token == MED:
                value = (stack[(first + top - 1) // 2] + stack[(first + top) // 2]) // 2
            else:
                value = total % 10
            top = first - 1
            stack[top] = value
        top += 1
    return stack[0]


@njit(cache=True)
def _fill(
    state: np.ndarray,
    values: np.ndarray,
    offsets: np.ndarray,
    labels: np.ndarray,
    min_length: int,
    max_length: int,
    max_depth: int,
    p_operator: float,
    min_args: int,
    max_args: int,
    max_tries: int,
) -> int:
    """Draw trees until `labels` is full; return how many were drawn, or 0 after `max_tries`.

    values: (n * (max_length - 1),) uint8, offsets: (n + 1,) int64, labels: (n,) int64.
    """
    missing = np.empty(max_depth, np.int64)
    stack = np.empty(max_length, np.int64)
    tries = start = 0
    offsets[0] = 0
    for i in range(len(labels)):
        length = 0
        while length <= min_length:
            if tries == max_tries:
                return 0
            tries += 1
            room = values[start : start + max_length - 1]
            length = _grow(state, room, missing, p_operator, min_args, max_args)
        labels[i] = _evaluate(values[start : start + length], stack)
        start += length
        offsets[i + 1] = start
    return tries


def _draw(config: ListOpsConfig, seed: int, index: int) -> tuple[pa.Table, int]:
    """The chunk, and how many trees were drawn for it."""
    state = np.random.SeedSequence([seed, index]).generate_state(4, np.uint64)
    values = np.empty(CHUNK * (config.max_length - 1), np.uint8)
    offsets, labels = np.empty(CHUNK + 1, np.int64), np.empty(CHUNK, np.int64)
    max_tries = round(CHUNK / MIN_ACCEPTANCE)
    tries = _fill(state, values, offsets, labels, **config.model_dump(), max_tries=max_tries)
    if not tries:
        settings = ", ".join(f"{key} {value}" for key, value in config)
        raise LRAError(
            f"listops: fewer than 1 in {1 / MIN_ACCEPTANCE:,.0f} random trees are longer than "
            f"min_length and shorter than max_length ({settings}); widen the window"
        )
    return table_of(values[: offsets[-1]], offsets, labels), tries


def chunk(config: ListOpsConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    The columns are tokens (list<uint8>) and label (int64); duplicates are left in. Raises LRAError
    where the configuration accepts (nearly) no tree.
    """
    return _draw(config, seed, index)[0]


def generate(count: int, seed: int, **overrides: int | float) -> pa.Table:
    """`count` different examples, made on one core; `overrides` are fields of `ListOpsConfig`."""
    config = ListOpsConfig(**overrides)
    return take(count, (chunk(config, seed, index) for index in itertools.count()))


def info(config: ListOpsConfig) -> Info:
    """What a split of this configuration says of itself."""
    return Info(
        task="listops",
        vocab_size=len(VOCAB),
        classes=10,
        max_length=config.max_length,
        pads=True,
        vocab=VOCAB,
        source="generated after google-research/long-range-arena, lra_benchmarks/data/listops.py",
        generator={"name": "listops", "version": VERSION, "config": config.model_dump()},
    )
