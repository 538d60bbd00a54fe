"""Prints rows of pathfinder_matching.csv: `python pathfinder_distances.py 32,14,80000,28`.

For each SIZE,PADDLES,IMAGES,STEPS: how many images of either label have their markers at each
distance in the original procedure. 80,000 images at 32 px take 16 s, 6,000 at 64 px 3 minutes.
"""

from __future__ import annotations

import sys

import numpy as np

from lra.data.pathfinder import PathfinderConfig, stimuli
from lra.data.pathfinder_kernel import SPAN


def counts(
    size: int, contour_length: int, images: int, steps: int, seed: int = 12345
) -> np.ndarray:
    """(2, steps) images by label and distance."""
    config = PathfinderConfig(size=size, contour_length=contour_length, matched_distance=False)
    rng = np.random.default_rng(np.random.SeedSequence([seed, size, contour_length]))
    total = np.zeros((2, steps), int)
    for start in range(0, images, 500):
        _, labels, _, truth = stimuli(config, rng, min(500, images - start))
        distance = np.hypot(truth[:, 0] - truth[:, 2], truth[:, 1] - truth[:, 3])
        step = np.minimum((steps * distance / (SPAN * size)).astype(int), steps - 1)
        np.add.at(total, (labels, step), 1)
    return total


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        size, contour_length, images, steps = map(int, argument.split(","))
        for label, row in enumerate(counts(size, contour_length, images, steps).tolist()):
            print(size, contour_length, label, " ".join(map(str, row)), sep=",")
