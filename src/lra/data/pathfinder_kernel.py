"""Grows and draws the snakes of `lra.data.pathfinder`: the compiled inner loops.

A *snake* is a chain of paddles with gaps between them. Positions are (y, x) in image pixels.
Orientations are whole degrees with 0 along +x. A paddle is a row of four integers, see
`lra.data.pathfinder_tables`. `occupied` is the flat canvas of int16 marks: 0 for a free pixel,
`EDGE` outside the image and in its padding, else the mark of the paddle on the pixel.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from lra.core.compiled import compiled

# these are compiled in, and numba's cache notices changes of this file only: all stand here
SCALE = 2  # anti-aliasing: sub-pixels per pixel
GRID = 4  # places of a pivot within a pixel, along each axis
APRON = 24  # pixels; more than a paddle and its margins can reach beyond the image
PADDLE_TRIES = 3
DISTRACTOR_TRIES = 5
PAIR_TRIES = 300_000  # far more than any pair that fits needs: only to stop where none fits
LEAST_FREE = 0.01  # of the image's pixels; below it no further distractor is tried
REDRAWS = 8  # of pixels that are not free, before the free ones are listed
MOST_PADDLES = 64  # of a snake
EDGE = -1
SPAN = 1.4  # of the image's side: distances between the markers that a table tells apart

inlined = partial(compiled, forceinline=True)  # of what is called most: 15 % faster at 128 px


@inlined
def _offset(delta):
    """A paddle's offset in pixels, rounded up to whole sub-pixels."""
    return math.ceil(SCALE * delta - 1e-9)


@inlined
def _cell(brush, y, x):
    return (y + APRON) * (brush.size + 2 * APRON) + x + APRON


@inlined
def _shape(brush, margin, paddle):
    """What a paddle and its margin occupy: its cell on the canvas and offsets from there."""
    reach = brush.ink.shape[0] // 2
    i, j = paddle[2] + reach, paddle[3] + reach
    cells = brush.cells[margin, i, j, : brush.cell_counts[margin, i, j]]
    return _cell(brush, paddle[0], paddle[1]), cells


@inlined
def _mark(snake, i):
    """The mark of a snake's i-th paddle on the pixels it occupies; 0 is a free pixel."""
    return 1 + MOST_PADDLES * snake + i


@inlined
def _is_free(occupied, shape, newest):
    """Whether a shape lies on free pixels, or on those of the paddle marked `newest`."""
    at, cells = shape
    for k in range(len(cells)):
        mark = occupied[at + cells[k]]
        if mark != 0 and mark != newest:
            return False
    return True


@inlined
def _stamp(occupied, shape, mark):
    at, cells = shape
    for k in range(len(cells)):
        if occupied[at + cells[k]] == 0:
            occupied[at + cells[k]] = mark


@inlined
def _clear(occupied, shape):
    at, cells = shape
    for k in range(len(cells)):
        occupied[at + cells[k]] = 0


@inlined
def _start(brush, margin, y, x, degrees, paddle, heading):
    """Lay a snake's first paddle from its tip (y, x).

    heading: (y, x) of the newest paddle's pivot, in 1 / GRID pixels, and its orientation.
    """
    sine, cosine = brush.units[degrees]
    gap = brush.margins[margin]
    paddle[0], paddle[1] = y, x
    paddle[2], paddle[3] = _offset(brush.length * sine), _offset(brush.length * cosine)
    heading[0] = math.floor(GRID * (y - gap * sine) + 0.5)
    heading[1] = math.floor(GRID * (x - gap * cosine) + 0.5)
    heading[2] = degrees


@inlined
def _turn(rng, occupied, newest, at, ring, turns, sums, disc, side):
    """The ring's index of a free pixel, with probability in proportion to its weight; -1 for none.

    ring: (A, 2) pixels from the canvas cell `at`. turns, sums: (T,) those in reach and running
    sums of their weights. What is drawn but not free is drawn again; where that happens too
    often, the free ones are listed.
    """
    for _ in range(REDRAWS):
        point, place = rng.random() * sums[-1], 0
        for k in range(len(sums) - 1):
            place += sums[k] <= point
        pick = turns[place]
        if _is_free(occupied, (at + side * ring[pick, 0] + ring[pick, 1], disc), newest):
            return int(pick)
    chosen, total = -1, 0.0
    for k in range(len(sums)):
        weight = sums[k] - sums[k - 1] if k > 0 else sums[0]
        pick = turns[k]
        cell = at + side * ring[pick, 0] + ring[pick, 1]
        if weight > 0 and _is_free(occupied, (cell, disc), newest):
            total += weight
            if chosen < 0 or total * rng.random() < weight:
                chosen = int(pick)
    return chosen


@inlined
def _grow(rng, brush, margin, occupied, newest, paddle, heading):
    """Lay a snake's next paddle in free pixels and move its heading on; whether one was found."""
    pivot_y = heading[0] + brush.steps[margin, heading[2], 0]
    pivot_x = heading[1] + brush.steps[margin, heading[2], 1]
    fraction = GRID * (pivot_y % GRID) + pivot_x % GRID
    ring = brush.rings[margin, fraction]
    turns = brush.turns[margin, fraction, heading[2]]
    sums = brush.turn_sums[margin, fraction, heading[2]]
    disc = brush.discs[margin, : brush.disc_counts[margin]]
    gap, at = brush.margins[margin], _cell(brush, pivot_y // GRID, pivot_x // GRID)
    for _ in range(PADDLE_TRIES):
        pick = _turn(rng, occupied, newest, at, ring, turns, sums, disc, brush.size + 2 * APRON)
        if pick < 0:
            return False
        degrees = brush.ring_degrees[margin, fraction, pick]
        y, x = pivot_y // GRID + ring[pick, 0], pivot_x // GRID + ring[pick, 1]
        paddle[0], paddle[1] = y, x
        paddle[2] = _offset(pivot_y / GRID + gap * brush.units[degrees, 0] - y)
        paddle[3] = _offset(pivot_x / GRID + gap * brush.units[degrees, 1] - x)
        if _is_free(occupied, _shape(brush, margin, paddle), newest):
            heading[0], heading[1], heading[2] = pivot_y, pivot_x, degrees
            return True
    return False


@compiled
def _seed(rng, brush, margin, occupied, snakes, headings):
    """Lay the first paddles of both targets; whether both lie inside the image."""
    inner = brush.size - 2 * brush.border
    y = brush.border + int(inner * rng.random())
    x = brush.border + int(inner * rng.random())
    _start(brush, margin, y, x, int(360 * rng.random()), snakes[0, 0], headings[0])
    if not _is_free(occupied, _shape(brush, margin, snakes[0, 0]), 0):
        return False
    for _ in range(PADDLE_TRIES):
        direction = 2 * math.pi * rng.random()
        second_y = round(y + brush.seed_distance * math.sin(direction))
        second_x = round(x + brush.seed_distance * math.cos(direction))
        degrees = int(360 * rng.random())
        _start(brush, margin, second_y, second_x, degrees, snakes[1, 0], headings[1])
        if _is_free(occupied, _shape(brush, margin, snakes[1, 0]), 0):
            return True
    return False


@compiled
def _clear_targets(brush, margin, occupied, snakes, laid):
    for k in range(laid):
        _clear(occupied, _shape(brush, margin, snakes[k % 2, k // 2]))


@compiled
def _targets(rng, brush, margin, occupied, snakes, contour_length):
    """Try once to lay the two targets, a paddle each in turn; whether both reached full length.

    Where the try fails, the occupied pixels are left as found.
    """
    headings = np.empty((2, 3), np.int64)
    if not _seed(rng, brush, margin, occupied, snakes, headings):
        return False
    _stamp(occupied, _shape(brush, margin, snakes[0, 0]), _mark(0, 0))
    second = _shape(brush, margin, snakes[1, 0])
    # only paddles that meet are so long that both first ones can reach each other
    if brush.margins[margin] == 0 and not _is_free(occupied, second, 0):
        _clear(occupied, _shape(brush, margin, snakes[0, 0]))
        return False
    _stamp(occupied, second, _mark(1, 0))
    for k in range(2, 2 * contour_length):
        s, i = k % 2, k // 2
        newest = _mark(s, i - 1)
        if not _grow(rng, brush, margin, occupied, newest, snakes[s, i], headings[s]):
            _clear_targets(brush, margin, occupied, snakes, k)
            return False
        _stamp(occupied, _shape(brush, margin, snakes[s, i]), _mark(s, i))
    return True


@compiled
def _distance(a, b):
    """Pixels from the pixel end of one paddle to that of another."""
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)


@compiled
def _distractor(rng, brush, margin, occupied, paddles, length, s):
    """Try once to lay snake s from a uniform free pixel; whether it reached full length."""
    heading = np.empty(3, np.int64)
    degrees = int(360 * rng.random())
    for _ in range(brush.size**2):
        y, x = int(brush.size * rng.random()), int(brush.size * rng.random())
        _start(brush, margin, y, x, degrees, paddles[0], heading)
        if _is_free(occupied, _shape(brush, margin, paddles[0]), 0):
            break
    else:
        return False
    _stamp(occupied, _shape(brush, margin, paddles[0]), _mark(s, 0))
    for i in range(1, length):
        if not _grow(rng, brush, margin, occupied, _mark(s, i - 1), paddles[i], heading):
            for laid in range(i):
                _clear(occupied, _shape(brush, margin, paddles[laid]))
            return False
        _stamp(occupied, _shape(brush, margin, paddles[i]), _mark(s, i))
    return True


@compiled
def _distractors(rng, brush, margin, occupied, snakes, length):
    """Lay distractors after the targets where there is room; return how many."""
    laid = 0
    for _ in range(2, len(snakes)):
        free = 0
        for mark in occupied:
            free += mark == 0
        if free < LEAST_FREE * brush.size**2:
            break
        s = 2 + laid
        for _ in range(DISTRACTOR_TRIES):
            if _distractor(rng, brush, margin, occupied, snakes[s], length, s):
                laid += 1
                break
    return laid


@compiled
def _draw_snake(brush, canvas, snake, length, contrast):
    """Compose a snake into a (side, side) canvas by the maximum."""
    reach, half = brush.ink.shape[0] // 2, brush.ink.shape[2] // 2
    for k in range(length):
        row, column = snake[k, 2] + reach, snake[k, 3] + reach
        top, left = snake[k, 0] + APRON - half, snake[k, 1] + APRON - half
        for i in range(brush.ink.shape[2]):
            for j in range(brush.ink.shape[3]):
                value = contrast * brush.ink[row, column, i, j] / 255
                canvas[top + i, left + j] = max(canvas[top + i, left + j], value)


@compiled
def _draw_marker(brush, canvas, y, x):
    reach = int(brush.marker_radius)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            if i * i + j * j <= brush.marker_radius**2:
                canvas[y + APRON + i, x + APRON + j] = max(canvas[y + APRON + i, x + APRON + j], 1)


@compiled
def _rescale(canvas, pixels):
    """The image inside the canvas, stretched from its least..greatest to 0..255."""
    size = len(pixels)
    dark, bright = canvas[APRON, APRON], canvas[APRON, APRON]
    for i in range(size):
        for j in range(size):
            dark = min(dark, canvas[APRON + i, APRON + j])
            bright = max(bright, canvas[APRON + i, APRON + j])
    scale = 255 / (bright - dark)
    for i in range(size):
        for j in range(size):
            pixels[i, j] = int((canvas[APRON + i, APRON + j] - dark) * scale + 0.5)


@compiled
def draw_stimuli(
    rng, brush, contour_length, distractor_length, kept, pixels, labels, snakes, truth
):
    """Fill arrays of n images, each with up to s snakes; return whether all have their targets.

    kept: (2, steps), by label: share of pairs that is kept at each distance between the markers,
    in equal steps from 0 to SPAN times the side.
    pixels: (n, size, size) uint8. labels: (n,) int64, 1 where both markers are on one snake.
    snakes: (n, s, contour_length, 4) int16 paddles, targets first. truth: (n, 6) int64, of
    each image: y, x of the first marker; y, x of the second; number of distractors; margin.
    """
    side, edge = brush.size + 2 * APRON, APRON + brush.padding
    occupied = np.empty(side * side, np.int16)
    canvas = np.empty((side, side))
    for n in range(len(pixels)):
        labels[n] = int(2 * rng.random())
        for i in range(side):
            for j in range(side):
                inside = edge <= i < side - edge and edge <= j < side - edge
                occupied[i * side + j] = 0 if inside else EDGE
                canvas[i, j] = 0
        last = contour_length - 1
        while True:
            # a rejected pair is drawn anew, with all that its distance depends on
            margin = int(len(brush.margins) * rng.random())
            first = int(2 * rng.random())
            second = first if labels[n] == 1 else 1 - first
            for _ in range(PAIR_TRIES):
                if _targets(rng, brush, margin, occupied, snakes[n], contour_length):
                    break
            else:
                return False
            distance = _distance(snakes[n, first, 0], snakes[n, second, last])
            step = int(kept.shape[1] * distance / (SPAN * brush.size))
            if rng.random() < kept[labels[n], min(step, kept.shape[1] - 1)]:
                break
            _clear_targets(brush, margin, occupied, snakes[n], 2 * contour_length)
        laid = _distractors(rng, brush, margin, occupied, snakes[n], distractor_length)
        for s in range(2 + laid):
            if s < 2:
                _draw_snake(brush, canvas, snakes[n, s], contour_length, brush.target_contrast)
            else:
                contrast = brush.distractor_contrast
                _draw_snake(brush, canvas, snakes[n, s], distractor_length, contrast)
        truth[n, 0], truth[n, 1] = snakes[n, first, 0, 0], snakes[n, first, 0, 1]
        truth[n, 2], truth[n, 3] = snakes[n, second, last, 0], snakes[n, second, last, 1]
        truth[n, 4], truth[n, 5] = laid, brush.margins[margin]
        _draw_marker(brush, canvas, truth[n, 0], truth[n, 1])
        _draw_marker(brush, canvas, truth[n, 2], truth[n, 3])
        _rescale(canvas, pixels[n])
    return True
