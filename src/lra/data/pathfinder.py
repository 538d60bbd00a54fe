"""Pathfinder and Path-X: do two markers lie at the ends of one snake of dashes, or of two?

Source: the stimuli of Linsley et al. 2018 (https://arxiv.org/abs/1805.08315, code at
github.com/drewlinsley/pathfinder, version of 2019) with the parameters that Long Range Arena
gives (https://arxiv.org/abs/2011.04006, lra_benchmarks/data/pathfinder.py). Written anew from a
description of the procedure; no code is shared.

Matched: the constants of every size (`SIZES`); two target snakes that grow a paddle each in
turn, around bends with probability free x cos^2(continuity x turn), with the same numbers of
tries; a snake's newest paddle does not yet count as occupied when its next one is laid, all of
the other snake's do; dashes drawn at twice the size and shrunk by Lanczos; distractors; contrasts
(at 32 px the targets are dimmer than the distractors); the maximum per pixel; each image
stretched to 0..255; the first marker at the start of either target, the second at the last tip
of the same one (label 1) or of the other (label 0). A pair that fails is begun again until one
succeeds, with the label and margin kept.

Differs: close in distribution, not equal in pixels. Pivots are rounded to a quarter pixel and
orientations to whole degrees, so that all weights can be tabled; at 32 px that lowers the share
of pairs that succeed from 2.8 to 2.5 %. What is drawn but not free is drawn again, and dashes are
stamped from tables, which changes nothing. The number of distractors does not depend on the
contour length (upstream's code leaves it open). 16 px is a variant of our own for laptops: 256
tokens, targets of 5 paddles, 2 distractors of one paddle.

Differs on purpose: the distance between the markers tells part of the label in the procedure
itself (held-out accuracy of its histogram: 52-54 % at 32 px with 14 paddles, 59 % with 6, 68 % at
256 px). Pairs are rejected until it tells nothing, `lra.data.distances`; with `matched_distance:
false` they are not.

Speed on one core of a server, after about 10 s of compilation (cached): `python
tests/benchmarks/pathfinder_speed.py` printed 13,000 images/s at 16 px, 4,800 at 32, 31 at
64 (where nearly all pairs run into the edge), 118 at 128 and 1,700 at 256.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.errors import LRAError
from lra.core.schema import Strict, checked
from lra.data import pathfinder_matching
from lra.data.split import Info, table_of

if TYPE_CHECKING:
    from lra.data import pathfinder_tables

VERSION = 1  # raised whenever the same configuration and seed give other bytes
CHUNK = 500  # examples


class Constants(NamedTuple):
    """One row of the table of sizes; lengths in pixels."""

    contour_length: int  # paddles of a target, unless configured
    distractors: int  # snakes beside the two targets, where there is room
    paddle: tuple[float, float]  # length x thickness
    margins: tuple[int, ...]  # half the gap between paddles; drawn per image
    marker: float  # radius
    seed_distance: int  # between the first tips of the two targets
    border: int  # of the image, where the first target does not start: 2 x seed distance
    continuity: float  # larger is straighter
    padding: int  # of the image, where no snake is
    contrasts: tuple[float, float]  # of a snake, of a target's paddles on top


SIZES = {
    # paddles, distractors, length x thickness, margins, marker, seed, border, continuity, padding
    16: Constants(5, 2, (2, 0.5), (1,), 1.0, 6, 6, 1.0, 0, (2.0, 0.75)),  # ours, for laptops
    32: Constants(14, 5, (2, 0.5), (1,), 1.5, 7, 14, 1.0, 1, (2.0, 0.75)),
    64: Constants(14, 5, (5, 1.0), (1,), 2.5, 12, 24, 1.8, 1, (0.8, 1.0)),
    128: Constants(14, 8, (5, 1.5), (2, 3), 3.0, 20, 40, 1.8, 1, (0.9, 1.0)),
    256: Constants(14, 7, (5, 2.0), (3,), 5.0, 27, 54, 1.8, 22, (1.0, 1.0)),
}


class PathfinderConfig(Strict):
    """A variant of the task."""

    # pixels a side; 128 is Path-X, 16 a small variant of our own
    size: Literal[16, 32, 64, 128, 256] = 32
    # paddles of each target: 6 easy, 9 medium, 14 hard; a third of it are a distractor's
    contour_length: int = Field(
        default_factory=lambda data: SIZES[data["size"]].contour_length, ge=3, le=32
    )
    # reject pairs so that the distance between the markers tells nothing of the label; the
    # original does not; by default wherever `lra.data.distances` has a table
    matched_distance: bool = Field(
        default_factory=lambda data: pathfinder_matching.tabled(
            data["size"], data["contour_length"]
        )
    )

    @model_validator(mode="after")
    def matching_needs_a_table(self) -> Self:
        if self.matched_distance and not pathfinder_matching.tabled(self.size, self.contour_length):
            raise ValueError(
                f"matched_distance: not tabled for contour_length {self.contour_length} at "
                f"{self.size} pixels; set it to false"
            )
        return self


@dataclass(frozen=True)
class Stimulus:
    """One image and what is in it; positions are (y, x) in pixels."""

    pixels: np.ndarray  # (size, size) uint8
    label: int  # 1 where both markers are on one snake
    markers: np.ndarray  # (2, 2) int64, their middles
    snakes: list[np.ndarray]  # (paddles, 2 ends, 2) each, first to last; two targets, distractors
    margin: int  # pixels

    @property
    def distractors(self) -> int:
        """How many distractor snakes found room."""
        return len(self.snakes) - 2


@lru_cache
def _brush(size: int) -> pathfinder_tables.Brush:
    from lra.data import (
        pathfinder_tables,  # numba is slow to import, and a plan reads the options alone
    )

    c = SIZES[size]
    snake, paddle = c.contrasts
    return pathfinder_tables.Brush(
        size=size,
        padding=c.padding,
        length=float(c.paddle[0]),
        seed_distance=c.seed_distance,
        border=c.border,
        marker_radius=c.marker,
        target_contrast=snake * paddle,
        distractor_contrast=snake,
        **pathfinder_tables.turn_tables(c.paddle[0], c.margins, c.continuity),
        **pathfinder_tables.brush_tables(size, *c.paddle, c.margins),
    )


def _stimuli(
    config: PathfinderConfig, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`count` images as the arrays of `pathfinder_kernel.draw_stimuli`: pixels, labels, snakes, truth."""
    from lra.data import pathfinder_kernel

    c, length = SIZES[config.size], config.contour_length
    pixels = np.empty((count, config.size, config.size), np.uint8)
    labels = np.empty(count, np.int64)
    rows = np.empty((count, 2 + c.distractors, length, 4), np.int16)
    truth = np.empty((count, 6), np.int64)
    arrays = pixels, labels, rows, truth
    kept = pathfinder_matching.kept(config.size, length, config.matched_distance)
    shape = length, length // 3, kept
    if not pathfinder_kernel.draw_stimuli(rng, _brush(config.size), *shape, *arrays):
        raise LRAError(
            f"pathfinder: two snakes of contour_length {length} do not fit an image of "
            f"{config.size} x {config.size} pixels; make contour_length smaller"
        )
    return arrays


def draw(config: PathfinderConfig, rng: np.random.Generator) -> Stimulus:
    """One image with its ground truth."""
    from lra.data.pathfinder_kernel import SCALE

    pixels, labels, rows, truth = (array[0] for array in _stimuli(config, rng, 1))
    ends = np.stack([rows[..., :2], rows[..., :2] + rows[..., 2:] / SCALE], -2)
    lengths = [config.contour_length] * 2 + [config.contour_length // 3] * int(truth[4])
    return Stimulus(
        pixels=pixels,
        label=int(labels),
        markers=truth[:4].reshape(2, 2),
        snakes=[snake[:n] for snake, n in zip(ends, lengths, strict=False)],
        margin=int(truth[5]),
    )


def chunk(config: PathfinderConfig, seed: int, index: int) -> pa.Table:
    """The `index`-th `CHUNK` examples of a seed: a pure function of its arguments.

    Columns: tokens, size x size pixel values (uint8) row by row; label (int64).
    """
    if seed < 0:
        raise LRAError(f"pathfinder: seed {seed} is negative; use 0 or more")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    pixels, labels, _, _ = _stimuli(config, rng, CHUNK)
    offsets = np.arange(CHUNK + 1) * config.size**2
    return table_of(pixels.ravel(), offsets, labels)


def generate(count: int, size: int, seed: int, **overrides: int) -> pa.Table:
    """The first `count` examples of a seed, in one process on one core.

    overrides: other fields of `PathfinderConfig`.
    """
    config = checked(PathfinderConfig, {"size": size, **overrides}, "pathfinder: options")
    chunks = [chunk(config, seed, index) for index in range(-(-count // CHUNK))]
    return pa.concat_tables(chunks).slice(0, count).combine_chunks()


def info(config: PathfinderConfig) -> Info:
    """What the splits of a variant say of themselves."""
    return Info(
        task="pathx" if config.size == 128 else "pathfinder",
        vocab_size=256,
        classes=2,
        max_length=config.size**2,
        pads=False,
        source="generated by lra.data.pathfinder after Linsley et al. 2018",
        generator={"name": "pathfinder", "version": VERSION, "config": config.model_dump()},
    )


Config = PathfinderConfig
