"""Tables of `lra.data.pathfinder`: how paddles look, what they occupy, where they may turn.

A *paddle* is a short bar. It is given by the pixel (y, x) of one of its ends and the offset
(dy, dx) of its other end in *sub-pixels*, of which `SCALE` make a pixel. Paddles with the same
offset look the same, so each is drawn once, with Pillow, and kept in a `Brush`.

Occupancy is kept on a square *canvas*, the image inside a wide apron that counts as occupied, so
that no test and no drawing needs a bounds check; *cells* index the flat canvas.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from lra.data.pathfinder_kernel import APRON, GRID, SCALE


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
    turns: np.ndarray  # (M, GRID^2, 360, T) uint8, the ends in reach, as indices into the ring
    turn_sums: np.ndarray  # (M, GRID^2, 360, T) float32, running sums of their weights
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
    """(A, 2) pixels within half a pixel of a circle around (i, j) / GRID, and (A,) their angles."""
    reach = np.arange(-math.ceil(radius) - 2, math.ceil(radius) + 3)
    dy, dx = np.meshgrid(reach - i / GRID, reach - j / GRID, indexing="ij")
    distance = np.hypot(dy, dx)
    at = (distance >= radius - 0.5) & (distance < radius + 0.5)
    return np.argwhere(at) + reach[0], np.arctan2(dy, dx)[at]


def turn_tables(
    length: float, margins: tuple[int, ...], continuity: float
) -> dict[str, np.ndarray]:
    """The fields of a `Brush` that say where a snake may turn, and how likely.

    Pivots are rounded to 1 / GRID of a pixel and orientations to whole degrees. So there are few
    cases, and a table can hold the weights of all.
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
    widest = (weights > 0).sum(-1).max()
    turns = np.argsort(weights == 0, -1, stable=True)[..., :widest]
    sums = np.take_along_axis(weights, turns, -1).cumsum(-1)
    units = np.stack([np.sin(headings), np.cos(headings)], -1)
    steps = [np.round((length + 2 * margin) * GRID * units) for margin in margins]
    return {
        "units": units,
        "rings": pixels,
        "ring_degrees": degrees,
        "turns": turns.astype(np.uint8),
        "turn_sums": sums.astype(np.float32),
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
    size: int, length: float, thickness: float, margins: tuple[int, ...], crisp: bool
) -> dict[str, np.ndarray]:
    """The array fields of a `Brush`, for paddles of `length` x `thickness` pixels.

    crisp: a pixel is drawn whole where a paddle touches it, else in shades.
    """
    from scipy.ndimage import binary_dilation  # slow to import

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
    if crisp:
        ink = np.where(solid, 255, 0).astype(np.uint8)
    occupied = [binary_dilation(solid, disc(margin)[None, None]) for margin in margins]
    largest = max(margins)
    discs = [np.pad(disc(margin), largest - margin) for margin in margins]
    stride = np.array([size + 2 * APRON, 1], np.int32)
    cells, cell_counts = _lists(np.stack(occupied))
    disc_cells, disc_counts = _lists(np.stack(discs))
    return {
        "ink": ink,
        "cells": cells @ stride,
        "cell_counts": cell_counts,
        "discs": disc_cells @ stride,
        "disc_counts": disc_counts,
    }
