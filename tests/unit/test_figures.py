"""Figures are valid, complete, legible and the same every time."""

import itertools
from xml.etree import ElementTree

import matplotlib
import matplotlib.pyplot
import pytest
from fabricated import MODELS, TASKS, experiment, memory_row, span_row, speed_row
from matplotlib.text import Annotation
from PIL import Image

from lra import attention, canvas, figures
from lra.errors import LRAError
from lra.records import HistoryRow, MemoryRow, SpanRow, SpeedRow, read_table, write_rows

THREE = ["transformer", "linear", "local"]
LOST = {("transformer", 4096): "oom", ("text", "local", 1): "diverged"}
LOST |= {("image", "linear", seed): "timeout" for seed in (0, 1)}


def figure_of(name, folder):
    with matplotlib.rc_context(canvas.STYLE):
        paths = [folder / f"{table}.parquet" for table in figures.tables_of(name)]
        return figures.FIGURES[name](*paths)


def words(path) -> str:
    """All text of an SVG; raises where it is no XML."""
    return " ".join(" ".join(ElementTree.parse(path).getroot().itertext()).split())


def words_of_performance(folder) -> str:
    figures.draw("performance", folder, folder / "performance")
    return words(folder / "performance.svg")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """An experiment of three models with losses, and its figures."""
    folder = tmp_path_factory.mktemp("three")
    experiment(folder, models=THREE, tasks=["text", "image"], seeds=(0, 1), bad=LOST)
    for name in figures.FIGURES:
        figures.draw(name, folder, folder / name)
    return folder


@pytest.mark.parametrize("name", figures.FIGURES)
def test_both_forms_are_valid_and_name_the_models(drawn, name):
    text = words(drawn / f"{name}.svg")
    assert all(model in text for model in THREE)
    with Image.open(drawn / f"{name}.png") as image:
        image.verify()
        assert image.width >= 900
    assert not list(drawn.glob("*.partial"))


@pytest.mark.parametrize("name", figures.FIGURES)
def test_same_input_gives_the_same_bytes(drawn, tmp_path, name):
    figures.draw(name, drawn, tmp_path / name)
    for suffix in (".svg", ".png"):
        again = (tmp_path / name).with_suffix(suffix).read_bytes()
        assert again == (drawn / name).with_suffix(suffix).read_bytes()


def test_what_could_not_be_had_is_marked(drawn):
    assert "oom at 4K: transformer" in words(drawn / "speed.svg")
    assert "oom at 4K: transformer" in words(drawn / "memory.svg")
    curves = words(drawn / "learning_curves.svg")
    assert "local on text (diverged, seed 1)" in curves
    assert "linear on image (timeout, seed 0, 1)" in curves
    assert "not comparable: linear (image timeout), local (text 1/2 ok)" in words(
        drawn / "performance.svg"
    )


def test_spans_that_could_not_be_had_are_named_and_crossed(tmp_path):
    bad = {("text", "local", 1): "diverged", **{("image", "linear", s): "oom" for s in (0, 1)}}
    experiment(tmp_path, models=THREE, tasks=["text", "image"], seeds=(0, 1), bad=bad)
    figures.draw("span", tmp_path, tmp_path / "span")
    text = words(tmp_path / "span.svg")
    assert "linear on image (oom, seed 0, 1)" in text
    assert "local on text (diverged, seed 1)" in text
    left, right = figure_of("span", tmp_path).axes
    crosses = [
        [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "x"]
        for axes in (left, right)
    ]
    assert crosses == [[], [THREE.index("linear")]]


def test_spans_are_means_over_seeds_beside_uniform_attention(tmp_path):
    rows = [span_row(seed=s, span=v, uniform=50.0) for s, v in enumerate((10.0, 20.0))]
    rows.append(span_row(layer=0, span=40.0, uniform=50.0))
    write_rows(tmp_path / "span.parquet", rows, SpanRow)
    (axes,) = figure_of("span", tmp_path).axes
    uniform, ends, dot = (list(line.get_xdata()) for line in axes.lines)
    assert (uniform, ends, dot) == ([50.0, 50.0], [10.0, 20.0], [15.0])


@pytest.mark.parametrize("nearest", [1.0, 0.02], ids=["linear", "logarithmic"])
@pytest.mark.parametrize("tasks", [["text", "image"], list(TASKS)], ids=["column", "page"])
def test_no_two_labels_of_the_spans_of_every_mechanism_overlap(tmp_path, tasks, nearest):
    experiment(tmp_path, models=attention.names(), tasks=tasks, seeds=(0, 1))
    rows = read_table(tmp_path / "span.parquet", SpanRow).to_pylist()
    rows = [r | {"span": r["span"] * (nearest if r["model"] == "bigbird" else 1)} for r in rows]
    write_rows(tmp_path / "span.parquet", rows, SpanRow)
    figure = figure_of("span", tmp_path)
    renderer = figure.canvas.get_renderer()
    texts = []
    for number, axes in enumerate(figure.axes):
        assert axes.get_xscale() == ("log" if nearest < 1 else "linear")
        low, high = axes.get_xlim()
        ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        texts += [label for at, label in ticks if low <= at <= high]
        if number % 3 == 0:
            texts += axes.get_yticklabels()
        texts += [text for text in (axes.title, axes.xaxis.label) if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert len(boxes) > len(attention.names())
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_the_fitted_exponent_is_in_the_legend(drawn):
    assert "transformer (−2.00)" in words(drawn / "speed.svg")
    assert "linear (+1.05)" in words(drawn / "memory.svg")


def test_speed_and_memory_are_at_the_longest_common_length(drawn):
    assert "at 3K tokens" in words(drawn / "performance.svg")


@pytest.mark.parametrize(
    "part",
    [
        {"models": []},
        {"models": ["linear"], "tasks": ["listops"], "seeds": [0], "lengths": [64]},
        {"models": ["linear", "local"], "lengths": [], "seeds": [0]},
        {
            "models": ["new"],
            "tasks": ["text"],
            "bad": {("text", "new", s): "oom" for s in range(3)},
        },
        {"models": ["new"], "tasks": ["text"], "lengths": [64], "bad": {("new", 64): "oom"}},
    ],
    ids=["empty", "one", "no profile", "no accuracy", "no speed"],
)
def test_small_and_failed_experiments_have_figures(tmp_path, part):
    experiment(tmp_path, **part)
    for name in figures.FIGURES:
        figures.draw(name, tmp_path, tmp_path / name)
        assert words(tmp_path / f"{name}.svg")
    text = words(tmp_path / "performance.svg")
    if ("text", "new", 0) in part.get("bad", {}):
        assert "new (no accuracy)" in text and "No accuracy: new (text oom)" in text
    elif part["models"] == ["new"]:
        assert "new (speed: oom)" in text


def crowd(folder, count):
    """Models all over the plane, several of them in one place."""
    models = [*MODELS, *(f"extension-{i}" for i in range(count))][:count]
    experiment(folder, models=models, tasks=["text"], seeds=[0], lengths=[])
    rates = [2 + (i * 7 % 5) + 0.05 * i for i in range(count)]
    speeds = [speed_row(m, 64, train_steps_per_s=r) for m, r in zip(models, rates, strict=True)]
    write_rows(folder / "speed.parquet", speeds, SpeedRow)
    memories = [memory_row(m, 64, peak_bytes=10**8 * (1 + i)) for i, m in enumerate(models)]
    write_rows(folder / "memory.parquet", memories, MemoryRow)
    return models


@pytest.mark.parametrize("count", [1, 3, 12, 24])
def test_labels_overlap_neither_each_other_nor_markers(tmp_path, count):
    models = crowd(tmp_path, count)
    figure = figure_of("performance", tmp_path)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    labels = [child for child in axes.get_children() if isinstance(child, Annotation)]
    assert sorted(label.get_text() for label in labels) == sorted(models)
    # Without the arrow: the box of the text alone.
    boxes = [matplotlib.text.Text.get_window_extent(label, renderer) for label in labels]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    frame = axes.get_window_extent(renderer)
    assert all(frame.contains(b.x0, b.y0) and frame.contains(b.x1, b.y1) for b in boxes)
    for marker in axes.collections:
        (x, y), radius = (
            marker.get_offset_transform().transform(marker.get_offsets())[0],
            (marker.get_sizes()[0] ** 0.5 / 2 * figure.dpi / 72),
        )
        for box in boxes:
            near = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
            assert (near[0] - x) ** 2 + (near[1] - y) ** 2 >= radius**2


@pytest.mark.parametrize("name", figures.FIGURES)
def test_everything_is_inside_the_figure_and_nothing_below_overlaps(tmp_path, name):
    experiment(tmp_path, tasks=["text", "image"], seeds=(0, 1), bad=LOST)
    figure = figure_of(name, tmp_path)
    renderer = figure.canvas.get_renderer()
    parts = [*figure.axes, *figure.legends, *(text for text in figure.texts if text.get_text())]
    boxes = [part.get_tightbbox(renderer) for part in parts]
    page = figure.bbox.padded(1)
    assert all(page.contains(b.x0, b.y0) and page.contains(b.x1, b.y1) for b in boxes)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


def test_no_two_models_look_the_same_and_none_changes_with_its_company():
    names = [*MODELS, *(f"extension-{i}" for i in range(20))]
    looks = canvas.looks(names)
    keys = ("color", "marker", "linestyle")
    assert len({tuple(look[k] for k in keys) for look in looks.values()}) == len(names)
    assert canvas.looks(["linear"])["linear"] == looks["linear"]
    # In grey: by marker and dashes alone, for the arena's models. In discs: by colour alone.
    arena = canvas.looks([*attention.names(), "transformer-materialised"]).values()
    assert len({tuple(look[k] for k in keys[1:]) for look in arena}) == len(arena)
    assert len({look["color"] for look in arena}) == len(arena)


def test_accuracies_at_chance_count_and_are_said(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["pathx"], seeds=[0])
    assert "not above chance" in words_of_performance(tmp_path)
    experiment(tmp_path, models=THREE, tasks=["text"], seeds=[0])
    assert "not above chance" not in words_of_performance(tmp_path)


def test_the_area_is_proportional_to_memory(tmp_path):
    crowd(tmp_path, 3)
    (axes,) = figure_of("performance", tmp_path).axes
    sizes = [marker.get_sizes()[0] for marker in axes.collections]
    assert sizes[1] / sizes[0] == pytest.approx(2) and sizes[2] / sizes[0] == pytest.approx(3)


def test_no_state_is_left_behind(drawn, tmp_path):
    figures.draw("speed", drawn, tmp_path / "speed")
    assert matplotlib.rcParams["svg.hashsalt"] == matplotlib.rcParamsDefault["svg.hashsalt"]
    assert matplotlib.rcParams["font.family"] == matplotlib.rcParamsDefault["font.family"]
    assert matplotlib.pyplot.get_fignums() == []


def test_a_line_is_over_all_seeds_or_stops(tmp_path):
    experiment(tmp_path, models=["linear"], tasks=["text"], seeds=(0, 1))
    rows = read_table(tmp_path / "history.parquet", HistoryRow).to_pylist()
    rows = [row for row in rows if row["seed"] == 0 or row["step"] <= 1500]
    write_rows(tmp_path / "history.parquet", rows, HistoryRow)
    (axes,) = figure_of("learning_curves", tmp_path).axes
    line = next(line for line in axes.lines if len(line.get_xdata()) > 2)
    values = [r["accuracy"] for r in rows if r["split"] == "val" and r["step"] == 1500]
    assert line.get_xdata()[-1] == 1500
    assert line.get_ydata()[-1] == pytest.approx(sum(values) / 2)


def test_an_unknown_figure_is_one_line(tmp_path):
    with pytest.raises(LRAError, match="did you mean 'speed'"):
        figures.draw("sped", tmp_path, tmp_path / "x")
