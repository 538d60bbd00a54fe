"""The Pathfinder generator: repeatable, true to its labels, and without shortcuts."""

from __future__ import annotations

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy import ndimage

from lra.core.errors import LRAError
from lra.data.contact_sheet import contact_sheet
from lra.data.pathfinder import (
    CHUNK,
    SIZES,
    PathfinderConfig,
    chunk,
    generate,
    info,
    stimuli,
)
from lra.data.pathfinder_kernel import SCALE
from lra.data.split import Info, table_of, write_split

COUNTS = {
    10: 40,
    13: 40,
    16: 40,
    32: 200,
    64: 15,
    128: 30,
    256: 50,
}  # stimuli looked at; 64 px are slow to make


@dataclass(frozen=True)
class Stimulus:
    """One image and what it shows; positions are (y, x) in pixels."""

    pixels: np.ndarray  # (size, size) uint8
    label: int  # 1 where both markers are on one snake
    markers: np.ndarray  # (2, 2) int64, their middles
    snakes: list[np.ndarray]  # (paddles, 2 ends, 2) each, first to last; two targets, distractors
    margin: int  # pixels

    @property
    def distractors(self) -> int:
        """How many distractor snakes found room."""
        return len(self.snakes) - 2


def draw(config: PathfinderConfig, rng: np.random.Generator) -> Stimulus:
    """One image with its ground truth."""
    pixels, labels, rows, truth = (array[0] for array in stimuli(config, rng, 1))
    ends = np.stack([rows[..., :2], rows[..., :2] + rows[..., 2:] / SCALE], -2)
    lengths = [config.contour_length] * 2 + [config.contour_length // 3] * int(truth[4])
    return Stimulus(
        pixels=pixels,
        label=int(labels),
        markers=truth[:4].reshape(2, 2),
        snakes=[snake[:n] for snake, n in zip(ends, lengths, strict=False)],
        margin=int(truth[5]),
    )


@pytest.fixture(scope="module", params=COUNTS, ids=lambda size: f"{size}px")
def images(request: pytest.FixtureRequest) -> tuple[int, list[Stimulus]]:
    """A size and stimuli of it."""
    rng = np.random.default_rng(11)
    config = PathfinderConfig(size=request.param)
    return request.param, [draw(config, rng) for _ in range(COUNTS[request.param])]


@pytest.fixture(scope="module")
def examples() -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 1024) and labels (n,) of 12,000 images at 32 px."""
    return arrays(generate(12_000, size=32, seed=5))


def arrays(table) -> tuple[np.ndarray, np.ndarray]:
    tokens = table["tokens"].combine_chunks()
    return tokens.values.to_numpy().reshape(len(table), -1), table["label"].to_numpy()


def points(snake: np.ndarray) -> np.ndarray:
    """(paddles x 9, 2): points along the paddles of a snake, (paddles, 2, 2)."""
    along = np.linspace(0, 1, 9)[:, None]
    return (snake[:, :1] * (1 - along) + snake[:, 1:] * along).reshape(-1, 2)


def ends(snake: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Its first and last tip: the pixel ends of its first and last paddle."""
    return tuple(snake[0, 0]), tuple(snake[-1, 0])


# --- repeatable ---------------------------------------------------------------------------------


def test_same_seed_same_bytes_and_others_differ():
    config = PathfinderConfig(size=32)
    first = chunk(config, seed=3, index=1)
    assert first.equals(chunk(config, seed=3, index=1))
    assert first.num_rows == CHUNK
    for other in (chunk(config, seed=3, index=2), chunk(config, seed=4, index=1)):
        assert (arrays(first)[0] != arrays(other)[0]).any(1).mean() > 0.99


@pytest.mark.slow
def test_chunks_do_not_depend_on_the_number_of_workers():
    make = partial(chunk, PathfinderConfig(size=32), 7)
    expected = [make(index) for index in range(3)]
    for workers in (1, 2):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            assert all(a.equals(b) for a, b in zip(pool.map(make, range(3)), expected, strict=True))


def test_generate_is_the_first_examples_of_the_chunks():
    config = PathfinderConfig(size=32)
    table = generate(CHUNK + 7, size=32, seed=3)
    assert table.num_rows == CHUNK + 7
    assert table.slice(0, CHUNK).equals(chunk(config, 3, 0))
    assert table.slice(CHUNK).equals(chunk(config, 3, 1).slice(0, 7))


# --- true to the labels -------------------------------------------------------------------------


def test_markers_are_the_ends_of_one_snake_or_of_two(images):
    _, drawn = images
    assert {stimulus.label for stimulus in drawn} == {0, 1}
    for stimulus in drawn:
        first, second = (tuple(marker) for marker in stimulus.markers)
        tips = [ends(snake) for snake in stimulus.snakes[:2]]
        starts = [snake for snake in range(2) if tips[snake][0] == first]
        lasts = [snake for snake in range(2) if tips[snake][1] == second]
        assert len(starts) == len(lasts) == 1
        assert (starts == lasts) == (stimulus.label == 1)


def test_markers_are_drawn_where_the_ground_truth_says(images):
    _, drawn = images
    for stimulus in drawn:
        (ay, ax), (by, bx) = stimulus.markers
        assert stimulus.pixels[ay, ax] == stimulus.pixels[by, bx] > 150


def test_nothing_is_drawn_but_snakes_and_markers(images):
    size, drawn = images
    for stimulus in drawn:
        bright = np.argwhere(stimulus.pixels > 100)
        truth = np.concatenate([points(snake) for snake in stimulus.snakes])
        off_snakes = np.linalg.norm(bright[:, None] - truth, axis=-1).min(1) > 2.5
        off_markers = np.linalg.norm(bright[:, None] - stimulus.markers, axis=-1).min(1) > (
            SIZES[size].marker
        )
        assert not (off_snakes & off_markers).any()
        dark = stimulus.pixels[tuple(truth.round().astype(int).T)] < 20
        assert dark.mean() < (0.45 if SIZES[size].solid else 0.2)  # a solid line is one pixel wide


def test_either_target_is_marked_first():
    rng, config = np.random.default_rng(0), PathfinderConfig(size=32, contour_length=6)
    first = [
        tuple(stimulus.markers[0]) == ends(stimulus.snakes[0])[0]
        for stimulus in (draw(config, rng) for _ in range(400))
    ]
    assert abs(np.mean(first) - 0.5) < 4 * 0.5 / math.sqrt(400)


def test_targets_have_contour_length_paddles_in_an_even_chain(images):
    size, drawn = images
    constants = SIZES[size]
    length, widest = constants.paddle[0], math.pi / 2 / constants.continuity
    for stimulus in drawn:
        assert stimulus.margin in ((0,) if constants.solid else constants.margins)
        for snake in stimulus.snakes[:2]:
            assert len(snake) == constants.contour_length
            sizes = np.linalg.norm(snake[:, 0] - snake[:, 1], axis=1)
            assert (abs(sizes - length) < 1.5).all()
            heads = np.concatenate([snake[:1, 1], snake[1:, 0]])
            tails = np.concatenate([snake[:1, 0], snake[1:, 1]])
            gaps = np.linalg.norm(heads[:-1] - tails[1:], axis=1)
            assert (constants.solid or (gaps > 0.5).all()) and (
                gaps < 2 * stimulus.margin + 1.7
            ).all()
            angles = np.arctan2(*(heads - tails).T)
            turns = abs((np.diff(angles) + np.pi) % (2 * np.pi) - np.pi)
            assert (turns < widest + 0.6).all()  # half a radian for the rounding of short paddles


def test_snakes_do_not_touch(images):
    _, drawn = images
    for stimulus in drawn:
        for i, snake in enumerate(stimulus.snakes):
            for other in stimulus.snakes[:i]:
                distances = np.linalg.norm(points(snake)[:, None] - points(other), axis=-1)
                assert distances.min() > 0.75


def test_distractors_are_a_third_as_long_and_as_many_as_fit(images):
    size, drawn = images
    constants = SIZES[size]
    counts = [stimulus.distractors for stimulus in drawn]
    assert all(min(1, constants.distractors) <= count <= constants.distractors for count in counts)
    assert max(counts) == constants.distractors
    for stimulus in drawn:
        for snake in stimulus.snakes[2:]:
            assert len(snake) == constants.contour_length // 3
    if size == 256:  # where there is room for all
        assert np.mean(counts) > constants.distractors - 0.2


def test_snakes_keep_off_the_padding_and_images_span_the_range(images):
    size, drawn = images
    padding = SIZES[size].padding
    for stimulus in drawn:
        assert stimulus.pixels.shape == (size, size) and stimulus.pixels.dtype == np.uint8
        assert stimulus.pixels.min() == 0 and stimulus.pixels.max() == 255
        for snake in stimulus.snakes:
            assert (snake >= padding - 0.5).all() and (snake <= size - 1 - padding + 0.5).all()


@pytest.mark.parametrize("size", [10, 13])
def test_solid_lines_are_two_pieces_and_the_label_says_if_the_markers_are_on_one(size):
    """An oracle that follows pixels: pieces that touch, corners included."""
    table = generate(2 * CHUNK, size=size, seed=4, matched_distance=True)
    pixels, labels = arrays(table)
    assert set(np.unique(pixels)) == {0, 128, 255}
    for image, label in zip(pixels.reshape(-1, size, size), labels, strict=True):
        pieces, count = ndimage.label(image > 0, np.ones((3, 3)))
        assert count == 2
        first, second = pieces[image == 255]
        assert (first == second) == (label == 1)


# --- no shortcuts -------------------------------------------------------------------------------


def chance_bound(count: int) -> float:
    """Accuracy that guessing exceeds once in 30,000 times: 50 % and four standard deviations."""
    return 0.5 + 4 * 0.5 / math.sqrt(count)


def linear_probe(features: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy on the second half of a ridge regression fitted on the first; (n, d), (n,)."""
    half = len(labels) // 2
    scaled = (features - features[:half].mean(0)) / (features[:half].std(0) + 1e-9)
    design = np.hstack([scaled, np.ones((len(labels), 1))])
    gram = design[:half].T @ design[:half] + 10 * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design[:half].T @ (2.0 * labels[:half] - 1))
    return float(((design[half:] @ weights > 0) == labels[half:]).mean())


def test_labels_are_balanced(examples):
    _, labels = examples
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / math.sqrt(len(labels))


@pytest.mark.parametrize("feature", ["mean ink", "histogram", "raw pixels"])
def test_a_linear_probe_is_at_chance(examples, feature):
    pixels, labels = examples
    if feature == "mean ink":
        features = pixels.mean(1, keepdims=True)
    elif feature == "histogram":
        codes = (pixels // 8 + 32 * np.arange(len(pixels))[:, None]).ravel()
        features = np.bincount(codes, minlength=32 * len(pixels)).reshape(-1, 32)
    else:
        features = pixels.astype(np.float32)
    accuracy = linear_probe(features, labels)
    assert accuracy < chance_bound(len(labels) // 2), f"{feature}: {accuracy:.3f}"


def marker_distances(config: PathfinderConfig, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    drawn = [draw(config, rng) for _ in range(count)]
    distances = [math.dist(*stimulus.markers) for stimulus in drawn]
    return np.array(distances), np.array([stimulus.label for stimulus in drawn])


def one_hot(distances: np.ndarray) -> np.ndarray:
    """(n, 12): which twelfth of all distances each belongs to."""
    edges = np.quantile(distances, np.arange(1, 12) / 12)
    return np.eye(12)[np.digitize(distances, edges)]


@pytest.mark.parametrize(
    ("size", "contour_length"), [(10, 2), (13, 2), (16, 2), (32, 6), (32, 9), (32, 14), (256, 14)]
)
def test_marker_distance_tells_nothing(size, contour_length):
    config = PathfinderConfig(size=size, contour_length=contour_length, matched_distance=True)
    distances, labels = marker_distances(config, 3000)
    accuracy = linear_probe(one_hot(distances), labels)
    assert accuracy < chance_bound(1500), f"{accuracy:.3f}"


def test_marker_distance_tells_the_label_in_the_unmatched_procedure():
    """What the tables of `lra.data.pathfinder_matching` are for: 68 % at 256 px by the procedure itself."""
    config = PathfinderConfig(size=256)
    assert not config.matched_distance
    distances, labels = marker_distances(config, 2000)
    assert linear_probe(one_hot(distances), labels) > 0.6


def test_matching_without_a_table_is_refused():
    with pytest.raises(ValidationError, match="matched_distance: not tabled for contour_length 7"):
        PathfinderConfig(size=32, contour_length=7, matched_distance=True)


# --- what users meet ----------------------------------------------------------------------------


def test_info_says_what_a_split_is():
    assert info(PathfinderConfig(size=128)).task == "pathx"
    small = info(PathfinderConfig(size=16))
    assert (small.task, small.max_length, small.pads) == ("pathfinder", 256, False)
    assert small.generator["config"]["contour_length"] == 2


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: generate(1, size=48, seed=0), "size"),
        (lambda: generate(1, size=32, seed=0, contour_lenght=9), "contour_lenght"),
        (lambda: generate(1, size=32, seed=-1), "seed"),
        (lambda: generate(1, size=16, seed=0, contour_length=32), "contour_length"),
    ],
)
def test_mistakes_are_one_line_that_names_them(call, named):
    with pytest.raises(LRAError, match=named) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_contact_sheet_shows_both_labels(tmp_path):
    config = PathfinderConfig(size=32)
    write_split(tmp_path / "train.arrow", [generate(40, size=32, seed=0)], info(config))
    contact_sheet(tmp_path / "train.arrow", tmp_path / "sheet.png", per_label=4)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 4 * 256 and (sheet == 0).any() and (sheet == 255).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.png", "train.arrow"]


def test_contact_sheet_refuses_other_tasks(tmp_path):
    table = table_of(np.zeros(4, np.uint8), np.array([0, 4]), np.array([1]))
    write_split(tmp_path / "t.arrow", [table], Info("listops", 16, 10, 4, True))
    with pytest.raises(LRAError, match="listops"):
        contact_sheet(tmp_path / "t.arrow", tmp_path / "t.png")
