"""Growing and drawing snakes of paddles: the compiled inner loops of `lra.data.pathfinder`.

A *paddle* is a short bar, a *snake* a chain of paddles with gaps between them. Positions are
(y, x) in image pixels, angles radians with 0 along +x. All arrays of pixels are flat views of a
square canvas: the image inside a wide apron that counts as occupied, so that no test of
occupancy and no drawing needs a bounds check.

A paddle is a row of four integers: the pixel (y, x) of one of its ends and the offset (dy, dx) of
its other end in *sub-pixels*, of which `SCALE` make a pixel. Paddles with the same offset look
the same, so each is drawn once, with Pillow, and kept in the tables of a `Brush`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

SCALE = 2  # anti-aliasing: sub-pixels per pixel
GRID = 4  # places of a pivot within a pixel, along each axis
APRON = 24  # pixels; more than a paddle and its margins can reach beyond the image
REDRAWS = 8  # of pixels that are not free, before the free ones are listed
MOST_PADDLES = 64  # of a snake
EDGE = -1  # the mark of what is outside the image or in its padding
PADDLE_TRIES = 3
DISTRACTOR_TRIES = 5
PAIR_TRIES = 100_000  # far more than any pair that fits needs: only to stop where none fits
LEAST_FREE = 0.01  # of the image's pixels; below it no further distractor is tried


class Brush(NamedTuple):
    """How paddles of one image size look and what they occupy.

    M margins, offsets of -R..R sub-pixels a side (D = 2 R + 1), windows of -H..H pixels a side.
    Lists of cells are flat canvas offsets from a paddle's pixel end, padded to a common length.
    """

    size: int  # pixels a side of the image
    padding: int  # pixels at the image's edge that count as occupied
    length: float  # pixels, of a paddle
    seed_distance: int  # pixels, between the first tips of the two targets
    border: int  # pixels at the image's edge where the first target does not start
    marker_radius: float  # pixels
    target_contrast: float
    distractor_contrast: float
    margins: np.ndarray  # (M,) int64 pixels
    units: np.ndarray  # (360, 2) float64, sine and cosine of whole degrees
    rings: np.ndarray  # (M, GRID^2, A, 2) int32, where a paddle may end, from its pivot's pixel
    ring_degrees: np.ndarray  # (M, GRID^2, A) int32, its orientation there
    turn_sums: np.ndarray  # (M, GRID^2, 360, A) float32, running sums of those ends' weights
    steps: np.ndarray  # (M, 360, 2) int32 in 1 / GRID pixels, from a pivot to the next one
    ink: np.ndarray  # (D, D, 2 H + 1, 2 H + 1) uint8, what is drawn
    cells: np.ndarray  # (M, D, D, C) int32, what a paddle and its margin occupy
    cell_counts: np.ndarray  # (M, D, D) int64
    discs: np.ndarray  # (M, E) int32, a disc of the margin's radius
    disc_counts: np.ndarray  # (M,) int64


def disc(radius: float) -> np.ndarray:
    """(2 r + 1, 2 r + 1) bool: the pixels within `radius` of the middle one."""
    reach = np.arange(-int(radius), int(radius) + 1)
    return reach[:, None] ** 2 + reach**2 <= radius**2


def _ring(radius: float, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels within half a pixel of a circle around (i, j) / GRID: (A, 2), and their angles (A,)."""
    reach = np.arange(-math.ceil(radius) - 2, math.ceil(radius) + 3)
    dy, dx = np.meshgrid(reach - i / GRID, reach - j / GRID, indexing="ij")
    distance = np.hypot(dy, dx)
    at = (distance >= radius - 0.5) & (distance < radius + 0.5)
    return np.argwhere(at) + reach[0], np.arctan2(dy, dx)[at]


def turn_tables(
    length: float, margins: tuple[int, ...], continuity: float
) -> dict[str, np.ndarray]:
    """The fields of a `Brush` that say where a snake may turn, and how likely.

    With pivots rounded to 1 / GRID of a pixel and orientations to whole degrees there are few
    cases, and the weights of all can be tabled.
    """
    rings = [[_ring(length + m, i, j) for i, j in np.ndindex(GRID, GRID)] for m in margins]
    most = max(len(angles) for row in rings for _, angles in row)
    pixels = np.zeros((len(margins), GRID**2, most, 2), np.int32)
    degrees = np.zeros((len(margins), GRID**2, most), np.int32)
    weights = np.zeros((len(margins), GRID**2, 360, most))
    headings = np.radians(np.arange(360))
    for m, f in np.ndindex(pixels.shape[:2]):
        ring, angles = rings[m][f]
        turns = np.abs((angles - headings[:, None] + np.pi) % (2 * np.pi) - np.pi)
        pixels[m, f, : len(ring)] = ring
        degrees[m, f, : len(ring)] = np.round(np.degrees(angles)) % 360
        weights[m, f, :, : len(ring)] = np.cos(np.minimum(continuity * turns, np.pi / 2)) ** 2
    weights[weights < 1e-12] = 0
    units = np.stack([np.sin(headings), np.cos(headings)], -1)
    steps = [np.round((length + 2 * margin) * GRID * units) for margin in margins]
    return {
        "units": units,
        "rings": pixels,
        "ring_degrees": degrees,
        "turn_sums": weights.cumsum(-1).astype(np.float32),
        "steps": np.stack(steps).astype(np.int32),
    }


def _lists(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns, from the middle, that are set in each of (..., K, K) bool masks."""
    counts = masks.sum((-2, -1))
    half = masks.shape[-1] // 2
    rows = np.zeros((*counts.shape, counts.max(), 2), np.int32)
    for at in np.ndindex(counts.shape):
        rows[at][: counts[at]] = np.argwhere(masks[at]) - half
    return rows, counts


def brush_tables(
    size: int, length: float, thickness: float, margins: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """The array fields of a `Brush`, for paddles of `length` x `thickness` pixels."""
    reach = math.ceil(SCALE * (length + 0.5)) + 1  # a paddle's length varies by rounding
    half = math.ceil(reach / SCALE) + 4  # room for the margin, and for Lanczos's three pixels
    window, middle = 2 * half + 1, SCALE * half
    ink = np.zeros((2 * reach + 1, 2 * reach + 1, window, window), np.uint8)
    solid = np.zeros(ink.shape, bool)
    for i, j in np.ndindex(ink.shape[:2]):
        image = Image.new("L", (SCALE * window, SCALE * window))
        ends = [(middle, middle), (middle + j - reach, middle + i - reach)]
        ImageDraw.Draw(image).line(ends, fill=255, width=round(SCALE * thickness))
        ink[i, j] = image.resize((window, window), Image.Resampling.LANCZOS)
        blocks = np.asarray(image).reshape(window, SCALE, window, SCALE)
        solid[i, j] = blocks.any((1, 3))
    occupied = [binary_dilation(solid, disc(margin)[None, None]) for margin in margins]
    largest = max(margins)
    discs = [np.pad(disc(margin), largest - margin) for margin in margins]
    stride = np.array([size + 2 * APRON, 1], np.int32)
    cells, cell_counts = _lists(np.stack(occupied))
    disc_cells, disc_counts = _lists(np.stack(discs))
    return {
        "margins": np.array(margins),
        "ink": ink,
        "cells": cells @ stride,
        "cell_counts": cell_counts,
        "discs": disc_cells @ stride,
        "disc_counts": disc_counts,
    }


@njit(cache=True)
def _offset(delta):
    """A paddle's offset in pixels, rounded up to whole sub-pixels."""
    return math.ceil(SCALE * delta - 1e-9)


@njit(cache=True)
def _cell(brush, y, x):
    return (y + APRON) * (brush.size + 2 * APRON) + x + APRON


@njit(cache=True)
def _shape(brush, margin, paddle):
    """What a paddle and its margin occupy: its cell on the canvas and offsets from there."""
    reach = brush.ink.shape[0] // 2
    i, j = paddle[2] + reach, paddle[3] + reach
    cells = brush.cells[margin, i, j, : brush.cell_counts[margin, i, j]]
    return _cell(brush, paddle[0], paddle[1]), cells


@njit(cache=True)
def _mark(snake, i):
    """The mark of a snake's i-th paddle on the pixels it occupies; 0 is a free pixel."""
    return 1 + MOST_PADDLES * snake + i


@njit(cache=True)
def _is_free(occupied, shape, newest):
    """Whether a shape lies on free pixels, or on those of the paddle marked `newest`."""
    at, cells = shape
    for k in range(len(cells)):
        mark = occupied[at + cells[k]]
        if mark != 0 and mark != newest:
            return False
    return True


@njit(cache=True)
def _stamp(occupied, shape, mark):
    at, cells = shape
    for k in range(len(cells)):
        if occupied[at + cells[k]] == 0:
            occupied[at + cells[k]] = mark


@njit(cache=True)
def _clear(occupied, shape):
    at, cells = shape
    for k in range(len(cells)):
        occupied[at + cells[k]] = 0


@njit(cache=True)
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


@njit(cache=True)
def _turn(rng, occupied, newest, at, ring, sums, disc, side):
    """The index of a free pixel, with probability in proportion to its weight; -1 for none.

    ring: (A, 2) pixels from the canvas cell `at`, sums: (A,) running sums of their weights. What
    is drawn but not free is drawn again; where that happens too often, the free ones are listed.
    """
    for _ in range(REDRAWS):
        point, low, high = rng.random() * sums[-1], 0, len(sums) - 1
        while low < high:  # the first sum above the point
            middle = (low + high) // 2
            if sums[middle] > point:
                high = middle
            else:
                low = middle + 1
        if _is_free(occupied, (at + side * ring[low, 0] + ring[low, 1], disc), newest):
            return low
    chosen, total = -1, 0.0
    for k in range(len(sums)):
        weight = sums[k] - sums[k - 1] if k > 0 else sums[0]
        cell = at + side * ring[k, 0] + ring[k, 1]
        if weight > 0 and _is_free(occupied, (cell, disc), newest):
            total += weight
            if chosen < 0 or total * rng.random() < weight:
                chosen = k
    return chosen


@njit(cache=True)
def _grow(rng, brush, margin, occupied, newest, paddle, heading):
    """Lay a snake's next paddle in free pixels and move its heading on; whether one was found."""
    pivot_y = heading[0] + brush.steps[margin, heading[2], 0]
    pivot_x = heading[1] + brush.steps[margin, heading[2], 1]
    fraction = GRID * (pivot_y % GRID) + pivot_x % GRID
    ring = brush.rings[margin, fraction]
    sums = brush.turn_sums[margin, fraction, heading[2]]
    disc = brush.discs[margin, : brush.disc_counts[margin]]
    gap, at = brush.margins[margin], _cell(brush, pivot_y // GRID, pivot_x // GRID)
    for _ in range(PADDLE_TRIES):
        pick = _turn(rng, occupied, newest, at, ring, sums, disc, brush.size + 2 * APRON)
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


@njit(cache=True)
def _seed(rng, brush, margin, occupied, snakes, headings):
    """Lay the first paddles of both targets; whether the second lies inside the image."""
    inner = brush.size - 2 * brush.border
    y = brush.border + int(inner * rng.random())
    x = brush.border + int(inner * rng.random())
    _start(brush, margin, y, x, int(360 * rng.random()), snakes[0, 0], headings[0])
    for _ in range(PADDLE_TRIES):
        direction = 2 * math.pi * rng.random()
        second_y = round(y + brush.seed_distance * math.sin(direction))
        second_x = round(x + brush.seed_distance * math.cos(direction))
        degrees = int(360 * rng.random())
        _start(brush, margin, second_y, second_x, degrees, snakes[1, 0], headings[1])
        if _is_free(occupied, _shape(brush, margin, snakes[1, 0]), 0):
            return True
    return False


@njit(cache=True)
def _targets(rng, brush, margin, occupied, snakes, contour_length):
    """Try once to lay the two targets, a paddle each in turn; whether both reached full length.

    Where the try fails, the occupied pixels are left as found.
    """
    headings = np.empty((2, 3), np.int64)
    if not _seed(rng, brush, margin, occupied, snakes, headings):
        return False
    for s in range(2):
        _stamp(occupied, _shape(brush, margin, snakes[s, 0]), _mark(s, 0))
    for k in range(2, 2 * contour_length):
        s, i = k % 2, k // 2
        newest = _mark(s, i - 1)
        if not _grow(rng, brush, margin, occupied, newest, snakes[s, i], headings[s]):
            for laid in range(k):
                _clear(occupied, _shape(brush, margin, snakes[laid % 2, laid // 2]))
            return False
        _stamp(occupied, _shape(brush, margin, snakes[s, i]), _mark(s, i))
    return True


@njit(cache=True)
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


@njit(cache=True)
def _distractors(rng, brush, margin, occupied, snakes, length):
    """Lay distractors behind the targets, leaving out what finds no room; how many there are."""
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


@njit(cache=True)
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


@njit(cache=True)
def _draw_marker(brush, canvas, y, x):
    reach = int(brush.marker_radius)
    for i in range(-reach, reach + 1):
        for j in range(-reach, reach + 1):
            if i * i + j * j <= brush.marker_radius**2:
                canvas[y + APRON + i, x + APRON + j] = max(canvas[y + APRON + i, x + APRON + j], 1)


@njit(cache=True)
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


@njit(cache=True)
def draw_stimuli(rng, brush, contour_length, distractor_length, pixels, labels, snakes, truth):
    """Fill arrays of n images, each with up to s snakes; whether targets were found for all.

    pixels: (n, size, size) uint8. labels: (n,) int64, 1 where both markers are on one snake.
    snakes: (n, s, contour_length, 4) int16 paddles, targets first. truth: (n, 6) int64, of
    each image: y, x of the first marker; y, x of the second; number of distractors; margin.
    """
    side, edge = brush.size + 2 * APRON, APRON + brush.padding
    occupied = np.empty(side * side, np.int16)
    canvas = np.empty((side, side))
    for n in range(len(pixels)):
        labels[n] = int(2 * rng.random())
        margin = int(len(brush.margins) * rng.random())
        for i in range(side):
            for j in range(side):
                inside = edge <= i < side - edge and edge <= j < side - edge
                occupied[i * side + j] = 0 if inside else EDGE
                canvas[i, j] = 0
        for _ in range(PAIR_TRIES):
            if _targets(rng, brush, margin, occupied, snakes[n], contour_length):
                break
        else:
            return False
        laid = _distractors(rng, brush, margin, occupied, snakes[n], distractor_length)
        for s in range(2 + laid):
            if s < 2:
                _draw_snake(brush, canvas, snakes[n, s], contour_length, brush.target_contrast)
            else:
                contrast = brush.distractor_contrast
                _draw_snake(brush, canvas, snakes[n, s], distractor_length, contrast)
        first = int(2 * rng.random())
        second = first if labels[n] == 1 else 1 - first
        truth[n, 0], truth[n, 1] = snakes[n, first, 0, 0], snakes[n, first, 0, 1]
        truth[n, 2], truth[n, 3] = snakes[n, second, -1, 0], snakes[n, second, -1, 1]
        truth[n, 4], truth[n, 5] = laid, brush.margins[margin]
        _draw_marker(brush, canvas, truth[n, 0], truth[n, 1])
        _draw_marker(brush, canvas, truth[n, 2], truth[n, 3])
        _rescale(canvas, pixels[n])
    return True
