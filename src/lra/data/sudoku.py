"""Sudoku: a puzzle row by row, then its only solution, whose cells that were blank are asked for.

A square of n x n cells, n = rows x columns of a box, in which each row, column and box has every
digit from 1 to n. Row by row is not the order in which cells follow from those that are known: a
model that chooses its order solves what another one in this order does not (Kim et al. 2025,
arXiv:2502.06768).

A square is filled by a search that takes digits in random order, and blanks are made in random
order, each where the solution stays the only one. So squares are not quite equally likely.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.split import Info, grid_table
from lra.data.token_info import token_info

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 500  # puzzles that are tried per chunk
LEAST = 0.1  # share of them that must have got all their blanks


class SudokuConfig(Settings):
    """The distribution of puzzles."""

    box_rows: int = Field(2, ge=1, le=4, description="rows of a box")
    box_columns: int = Field(3, ge=2, le=4, description="its columns")
    blanks: list[int] = Field([18], min_length=1, description="a puzzle has one of these")

    @property
    def size(self) -> int:
        return self.box_rows * self.box_columns

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for blanks in self.blanks:
            if not 1 <= blanks < self.size**2:
                raise ValueError(f"blanks {blanks}: from 1 to {self.size**2 - 1}")
        return self


Config = SudokuConfig


def chunk(config: SudokuConfig, seed: int, index: int) -> pa.Table:
    """Examples of the stream of `seed`, up to CHUNK: those that got all their blanks.

    Columns: tokens (n x n of the puzzle, 0 where it is blank, and n x n of its solution), counted
    (1 in the solution where the puzzle is blank) and label, the number of blanks. Raises LRAError
    where almost no puzzle with so many blanks has only one solution.
    """
    # numba is slow to import, and a plan imports this module for its options
    from lra.data.sudoku_kernel import puzzles

    rng = np.random.Generator(np.random.PCG64([seed, index]))
    cells = config.size**2
    labels = rng.choice(config.blanks, CHUNK)
    # the order of digits in each cell, and of cells
    digits = rng.random((CHUNK, cells, config.size)).argsort(2)
    order = rng.random((CHUNK, cells)).argsort(1)
    tokens = np.zeros((CHUNK, 2 * cells), np.uint8)
    done = puzzles(tokens, digits, order, labels, config.box_rows, config.box_columns)
    if done.mean() < LEAST:
        raise LRAError(
            f"sudoku: options.blanks: fewer than 1 in {1 / LEAST:.0f} puzzles of {config.size} x "
            f"{config.size} have one solution with {config.blanks}; ask for fewer"
        )
    tokens = tokens[done]
    counted = np.zeros_like(tokens)
    counted[:, cells:] = tokens[:, :cells] == 0
    return grid_table(tokens, labels[done], counted)


def info(config: SudokuConfig) -> Info:
    """Metadata of a split of this configuration."""
    return token_info("sudoku", ("sudoku", VERSION), config, config.size + 1, 2 * config.size**2)
