"""Draws Sudoku puzzles and solves them (compiled)."""

from __future__ import annotations

import numpy as np

from lra.core.compiled import compiled


@compiled
def solutions(grid, digits, box_rows, box_columns, limit, first):
    """How many ways there are to fill the blanks (0), counted up to `limit`; the first found is
    written to `first`.

    grid, first: (n * n,) uint8, digits from 1; grid is as before afterwards. digits: (n * n, n),
    the order in which a cell tries them, from 0. The blank with the fewest candidates comes first.
    """
    n = box_rows * box_columns
    cells = n * n
    rows, columns, boxes = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    row, column, box = (
        np.empty(cells, np.int64),
        np.empty(cells, np.int64),
        np.empty(cells, np.int64),
    )
    for cell in range(cells):
        row[cell], column[cell] = cell // n, cell % n
        box[cell] = row[cell] // box_rows * box_rows + column[cell] // box_columns
        if grid[cell]:
            bit = 1 << (grid[cell] - 1)
            rows[row[cell]] |= bit
            columns[column[cell]] |= bit
            boxes[box[cell]] |= bit
    chosen = np.empty(cells, np.int64)  # the cells that are filled, in order
    untried = np.empty(cells, np.int64)  # bits of their candidates
    depth = found = 0
    while True:
        fewest, best = n + 1, -1
        for cell in range(cells):
            if grid[cell] == 0:
                taken = rows[row[cell]] | columns[column[cell]] | boxes[box[cell]]
                count = 0
                for digit in range(n):
                    count += 1 - (taken >> digit & 1)
                if count < fewest:
                    fewest, best = count, cell
        if best >= 0:
            chosen[depth] = best
            untried[depth] = ~(rows[row[best]] | columns[column[best]] | boxes[box[best]])
            depth += 1
        else:
            if found == 0:
                first[:] = grid
            found += 1
        # the next digit of the last cell, or of the one before it
        while depth:
            cell = chosen[depth - 1]
            if grid[cell]:
                bit = 1 << (grid[cell] - 1)
                rows[row[cell]] ^= bit
                columns[column[cell]] ^= bit
                boxes[box[cell]] ^= bit
                grid[cell] = 0
            if found < limit:
                for at in range(n):
                    if untried[depth - 1] >> digits[cell, at] & 1:
                        bit = 1 << digits[cell, at]
                        untried[depth - 1] ^= bit
                        rows[row[cell]] |= bit
                        columns[column[cell]] |= bit
                        boxes[box[cell]] |= bit
                        grid[cell] = digits[cell, at] + 1
                        break
                if grid[cell]:
                    break
            depth -= 1
        if depth == 0:
            return found


@compiled
def puzzles(tokens, digits, order, blanks, box_rows, box_columns):
    """Write puzzles and solutions to `tokens` (B, 2 n * n); which have all their blanks: (B,) bool.

    digits: (B, n * n, n), the order of digits in each cell. order: (B, n * n), of cells to become
    blank. blanks: (B,).
    """
    cells = order.shape[1]
    done = np.zeros(len(tokens), np.bool_)
    first = np.empty(cells, np.uint8)
    for i in range(len(tokens)):
        puzzle, solution = tokens[i, :cells], tokens[i, cells:]
        solutions(puzzle, digits[i], box_rows, box_columns, 1, solution)
        puzzle[:] = solution
        missing = blanks[i]
        for cell in order[i]:
            puzzle[cell] = 0
            if solutions(puzzle, digits[i], box_rows, box_columns, 2, first) > 1:
                puzzle[cell] = solution[cell]
            else:
                missing -= 1
                if missing == 0:
                    break
        done[i] = missing == 0
    return done
