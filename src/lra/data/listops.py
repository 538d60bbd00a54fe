"""ListOps: nested MIN, MAX, MED and SM (sum modulo 10) over digits, answered by one digit.

The task is of Nangia & Bowman, "ListOps: A Diagnostic Dataset for Latent Tree Learning" (2018); the
long version that is generated here is of Tay et al., "Long Range Arena" (2020), data/listops.py.
"""

from __future__ import annotations

import itertools
from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.generate import take
from lra.data.listops_tokens import VOCAB
from lra.data.split import Info, table_of

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 1000  # examples per chunk
MIN_ACCEPTANCE = 1e-4  # smallest share of trees with a length inside the window


class ListOpsConfig(Settings):
    """The distribution of expressions; the defaults are the paper's."""

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


def _draw(config: ListOpsConfig, seed: int, index: int) -> tuple[pa.Table, int]:
    """The chunk, and how many trees were drawn for it."""
    # numba is slow to import, and a plan imports this module for its options
    from lra.data.listops_kernel import fill

    state = np.random.SeedSequence([seed, index]).generate_state(4, np.uint64)
    values = np.empty(CHUNK * (config.max_length - 1), np.uint8)
    offsets, labels = np.empty(CHUNK + 1, np.int64), np.empty(CHUNK, np.int64)
    max_tries = round(CHUNK / MIN_ACCEPTANCE)
    tries = fill(state, values, offsets, labels, **config.model_dump(), max_tries=max_tries)
    if not tries:
        settings = ", ".join(f"{key} {value}" for key, value in config)
        raise LRAError(
            f"listops: fewer than 1 in {1 / MIN_ACCEPTANCE:,.0f} random trees are longer than "
            f"min_length and shorter than max_length ({settings}); widen the window"
        )
    return table_of(values[: offsets[-1]], offsets, labels), tries


def chunk(config: ListOpsConfig, seed: int, index: int) -> pa.Table:
    """Examples ``index * CHUNK ... (index + 1) * CHUNK - 1`` of the stream of `seed`.

    Columns: tokens (list<uint8>) and label (int64); duplicates are kept. Raises LRAError where the
    configuration accepts almost no tree.
    """
    return _draw(config, seed, index)[0]


def generate(count: int, seed: int, **overrides: int | float) -> pa.Table:
    """`count` different examples, made on one core; `overrides` are fields of `ListOpsConfig`."""
    config = ListOpsConfig(**overrides)
    return take(count, (chunk(config, seed, index) for index in itertools.count()))


def info(config: ListOpsConfig) -> Info:
    """Metadata of a split of this configuration."""
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
