"""Pathfinder and Path-X: do two markers lie at the ends of one snake of dashes, or of two?

Source: the stimuli of Linsley et al. 2018 (https://arxiv.org/abs/1805.08315, code at
github.com/drewlinsley/pathfinder, version of 2019) with the parameters that Long Range Arena
gives (https://arxiv.org/abs/2011.04006, lra_benchmarks/data/pathfinder.py). Written anew from a
description of the procedure; no code is shared.

As in the original:
- the constants of every size (`SIZES`);
- two target snakes that grow one paddle each in turn, around bends with probability
  free x cos^2(continuity x turn), with the same numbers of tries;
- a snake's newest paddle does not count as occupied when its next one is laid, while all paddles of
  the other snake do;
- dashes drawn at twice the size and shrunk by Lanczos; distractors; contrasts (at 32 px the targets
  are dimmer than the distractors); the maximum per pixel; each image stretched to 0..255;
- the first marker at the start of either target, the second at the last tip of the same one
  (label 1) or of the other (label 0);
- a pair of targets that fails is begun again until one succeeds, with the same label and margin.

Different, so that images are close in distribution and not equal in pixels: pivots are rounded to a
quarter pixel and orientations to whole degrees, so that all weights fit in tables. At 32 px this
lowers the share of pairs that succeed from 2.8 to 2.5 %. The number of distractors does not depend
on the contour length (the original code leaves it open). Pixels that are drawn but not free are
drawn again, and dashes are copied from tables; neither changes the distribution.

Variants of our own for laptops: 10, 13 and 16 px, 100, 169 and 256 tokens, are `solid`: two nearly
straight lines of 2 paddles of 3, 4 or 5 pixels, at least two empty pixels between them, no
distractors, and three grey values: ground 0, line 128, marker 255, which is one pixel. Lines start
anywhere.

The distance between the markers tells part of the label, as in the original: a histogram of it has
a held-out accuracy of 52-54 % at 32 px with 14 paddles, 59 % with 6, and 68 % at 256 px. With
`matched_distance`, a variant of our own, pairs are rejected until the distance tells nothing
(`pathfinder_matching`).

Speed on one core of a server (`python tests/benchmarks/pathfinder_speed.py`), after about 10 s of
compilation, which is cached: 4,800 images/s at 32 px, 31 at 64 (where nearly all pairs run into the
edge), 118 at 128 and 1,700 at 256.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from lra.core.errors import LRAError
from lra.core.schema import Settings, checked
from lra.data import pathfinder_matching
from lra.data.split import Info, table_of

if TYPE_CHECKING:
    from lra.data import pathfinder_tables

VERSION = 1  # raised with any change that alters the examples of a seed
CHUNK = 500  # examples


class Constants(NamedTuple):
    """One row of the table of sizes; lengths in pixels."""

    contour_length: int  # paddles of a target, unless configured
    distractors: int  # snakes beside the two targets, where there is room
    paddle: tuple[float, float]  # length x thickness
    margins: tuple[int, ...]  # half the gap between paddles; drawn per image
    marker: float  # radius
    seed_distance: int  # between the first tips of the two targets
    border: int  # of the image, where the first target does not start; originally 2 x seed distance
    continuity: float  # larger is straighter
    padding: int  # of the image, where no snake is
    contrasts: tuple[float, float]  # of a snake, of a target's paddles on top
    solid: bool = False  # paddles meet, and pixels are ground, snake or marker, without shades


SIZES = {
    # paddles, distractors, length x thickness, margins, marker, seed, border, continuity, padding
    10: Constants(2, 0, (3, 0.5), (1,), 0.0, 4, 0, 1.5, 0, (0.5, 1.0), True),  # ours, for laptops
    13: Constants(2, 0, (4, 0.5), (1,), 0.0, 5, 0, 2.0, 0, (0.5, 1.0), True),  # likewise
    16: Constants(2, 0, (5, 0.5), (1,), 0.0, 6, 0, 2.5, 0, (0.5, 1.0), True),  # likewise
    32: Constants(14, 5, (2, 0.5), (1,), 1.5, 7, 14, 1.0, 1, (2.0, 0.75)),
    64: Constants(14, 5, (5, 1.0), (1,), 2.5, 12, 24, 1.8, 1, (0.8, 1.0)),
    128: Constants(14, 8, (5, 1.5), (2, 3), 3.0, 20, 40, 1.8, 1, (0.9, 1.0)),
    256: Constants(14, 7, (5, 2.0), (3,), 5.0, 27, 54, 1.8, 22, (1.0, 1.0)),
}


class PathfinderConfig(Settings):
    """A variant of the task."""

    # pixels a side; 128 is Path-X; 10, 13 and 16 are small variants of our own
    size: Literal[10, 13, 16, 32, 64, 128, 256] = 32
    # paddles of each target: 6 easy, 9 medium, 14 hard; a third of it are a distractor's
    contour_length: int = Field(
        default_factory=lambda data: SIZES[data["size"]].contour_length, ge=2, le=32
    )
    # reject pairs so that the distance between the markers does not tell the label, which the
    # original does not do
    matched_distance: bool = False

    @model_validator(mode="after")
    def matching_needs_a_table(self) -> Self:
        if self.matched_distance and not pathfinder_matching.tabled(self.size, self.contour_length):
            raise ValueError(
                f"matched_distance: not tabled for contour_length {self.contour_length} at "
                f"{self.size} pixels; set it to false"
            )
        return self


@lru_cache
def _brush(size: int) -> pathfinder_tables.Brush:
    # numba is slow to import, and a plan imports this module for its options
    from lra.data import pathfinder_tables

    c = SIZES[size]
    snake, paddle = c.contrasts
    gaps = (0,) * len(c.margins) if c.solid else c.margins
    return pathfinder_tables.Brush(
        size=size,
        padding=c.padding,
        length=float(c.paddle[0]),
        seed_distance=c.seed_distance,
        border=c.border,
        marker_radius=c.marker,
        target_contrast=snake * paddle,
        distractor_contrast=snake,
        margins=np.array(gaps),
        **pathfinder_tables.turn_tables(c.paddle[0], gaps, c.continuity),
        **pathfinder_tables.brush_tables(size, *c.paddle, c.margins, c.solid),
    )


def stimuli(
    config: PathfinderConfig, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The arrays of `pathfinder_kernel.draw_stimuli` for `count` images.

    They are pixels, labels, snakes and truth.
    """
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


def chunk(config: PathfinderConfig, seed: int, index: int) -> pa.Table:
    """The `index`-th `CHUNK` examples of a seed: a pure function of its arguments.

    Columns: tokens, size x size pixel values (uint8) row by row; label (int64).
    """
    if seed < 0:
        raise LRAError(f"pathfinder: seed {seed} is negative; use 0 or more")
    rng = np.random.default_rng(np.random.SeedSequence([seed, index]))
    pixels, labels, _, _ = stimuli(config, rng, CHUNK)
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
    """Metadata of the splits of a variant."""
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
