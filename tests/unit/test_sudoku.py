"""Sudoku: a solver of its own, which knows rows, columns and boxes alone, finds the one solution."""

from __future__ import annotations

import numpy as np
import pytest

from lra.data import sudoku
from lra.data.sudoku_kernel import solutions


def solved(cells: list[int], box_rows: int, box_columns: int) -> list[list[int]]:
    """All solutions, by trying every digit in the first blank."""
    n = box_rows * box_columns
    if 0 not in cells:
        return [cells]
    place = cells.index(0)
    row, column = divmod(place, n)
    seen = set()
    for other, digit in enumerate(cells):
        y, x = divmod(other, n)
        box = (y // box_rows, x // box_columns) == (row // box_rows, column // box_columns)
        if y == row or x == column or box:
            seen.add(digit)
    return [
        solution
        for digit in range(1, n + 1)
        if digit not in seen
        for solution in solved([*cells[:place], digit, *cells[place + 1 :]], box_rows, box_columns)
    ]


@pytest.mark.parametrize(
    ("box", "blanks", "count"), [((2, 2), [4, 12], 60), ((2, 3), [14, 22], 60), ((3, 3), [40], 10)]
)
def test_each_puzzle_has_the_solution_beside_it_and_no_other(box, blanks, count):
    config = sudoku.Config(box_rows=box[0], box_columns=box[1], blanks=blanks)
    table = sudoku.chunk(config, 8, 0)
    names = ("tokens", "counted", "label")
    rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    cells = config.size**2
    for tokens, marks, label in rows[:count]:
        puzzle, solution = tokens[:cells], tokens[cells:]
        assert solved(puzzle, *box) == [solution]
        assert puzzle.count(0) == label
        assert marks == [0] * cells + [int(cell == 0) for cell in puzzle]
    assert {label for *_, label in rows} == set(blanks)
    squares = {tuple(tokens[cells:]) for tokens, *_ in rows}
    assert len(squares) > (150 if box == (2, 2) else 0.99 * len(rows))  # of 288, of 28 million


def test_solutions_are_counted_up_to_the_limit_and_the_puzzle_stays():
    """The empty 4 x 4 square has 288."""
    digits = np.tile(np.arange(4), (16, 1))
    grid, first = np.zeros(16, np.uint8), np.zeros(16, np.uint8)
    assert solutions(grid, digits, 2, 2, 1000, first) == 288
    assert not grid.any() and len(solved(first.tolist(), 2, 2)) == 1
    assert solutions(grid, digits, 2, 2, 2, first) == 2 and not grid.any()
    grid[:2] = 1, 1  # of one row
    assert solved(grid.tolist(), 2, 2) == []
