"""Figures are valid, complete, legible and the same every time."""

import functools
import itertools
import math
import re
from xml.etree import ElementTree

import matplotlib
import matplotlib.pyplot
import numpy as np
import pandas
import pytest
import scikit_posthocs
from drawn import figure as figure_of
from drawn import files as draw
from drawn import words as words_of
from fabricated import (
    LOST,
    MODELS,
    REACH,
    TASKS,
    THREE,
    experiment,
    memory_row,
    score_row,
    span_row,
    spans_of,
    speed_row,
)
from matplotlib.transforms import Bbox
from PIL import Image
from scipy.stats import friedmanchisquare

from lra import attention
from lra.core.errors import LRAError
from lra.report import registry
from lra.report.figures import learning_curves, performance, ranks, style
from lra.results.points import MemoryRow, SpeedRow
from lra.results.records import HistoryRow, ScoreRow, SpanRow, read_table, write_rows
from tiny import slow

FIGURES = [item.name for item in registry.FIGURES]


def words(path) -> str:
    """All text of an SVG; raises where it is no XML."""
    return " ".join(" ".join(ElementTree.parse(path).getroot().itertext()).split())


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Figures of all models and five tasks, each made once."""
    folder = tmp_path_factory.mktemp("crowded")
    experiment(folder, tasks=list(TASKS)[:5], seeds=(0, 1), bad=LOST, joules=2e5)
    near = [*REACH, "mean", *(f"near-{2**i}" for i in range(12)), "transformer"]
    experiment(folder / "reach", models=near, tasks=list(TASKS)[:5], seeds=(0, 1), bad=LOST)
    return functools.cache(
        lambda name: figure_of(name, folder / "reach" if name == "reach" else folder)
    )


@pytest.mark.parametrize("name", FIGURES)
def test_every_form_is_valid_and_names_the_models(drawn, name):
    text = words(drawn / f"{name}.svg")
    if name == "ranks":
        assert "1 of the models have every task" in text
    elif name == "reach":
        assert "No mechanism was trained with several windows" in text
    elif name == "rates":
        assert "Every model was trained at one learning rate" in text
    else:
        assert all(model in text for model in THREE)
    assert (drawn / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
    with Image.open(drawn / f"{name}.png") as image:
        image.verify()
        assert image.width >= 900
    assert not list(drawn.glob("*.partial"))


@pytest.mark.parametrize("name", [*FIGURES[:2], *slow(FIGURES[2:])])
def test_same_input_gives_the_same_bytes(drawn, tmp_path, name):
    draw(name, drawn, tmp_path)
    for suffix in (".svg", ".png", ".pdf"):
        again = (tmp_path / name).with_suffix(suffix).read_bytes()
        assert again == (drawn / name).with_suffix(suffix).read_bytes()


def test_what_is_missing_is_marked(drawn):
    assert "oom at 4K: transformer" in words(drawn / "speed.svg")
    assert "oom at 4K: transformer" in words(drawn / "memory.svg")
    curves = words(drawn / "learning_curves.svg")
    assert "local on text (diverged, seed 1)" in curves
    assert "linear on image (timeout, seed 0, 1)" in curves
    assert "mean over the seeds that are ok" in curves
    assert "not comparable: linear (image timeout), local (text 1/2 ok)" in words(
        drawn / "performance.svg"
    )


def test_missing_spans_are_named_and_none_is_a_mean_of_fewer_seeds(tmp_path):
    bad = {("text", "local", 1): "diverged", **{("image", "linear", s): "oom" for s in (0, 1, 2)}}
    experiment(tmp_path, models=THREE, tasks=["text", "image"], bad=bad)
    text = words_of("span", tmp_path)
    assert "× no span: linear on image (oom, seed 0, 1, 2)." in text
    assert "no mean, as other seeds have no span: local on text (diverged, seed 1)." in text
    left, right = figure_of("span", tmp_path).axes
    crosses = [
        [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "x"]
        for axes in (left, right)
    ]
    assert crosses == [[], [THREE.index("linear")]]
    rows = read_table(tmp_path / "span.parquet", SpanRow).to_pylist()
    own = [r for r in rows if (r["task"], r["model"], r["layer"]) == ("text", "local", -1)]
    known = [r["span"] for r in own if r["status"] == "ok"]
    (drawn,) = (line for line in left.lines if set(line.get_ydata()) == {THREE.index("local")})
    assert list(drawn.get_xdata()) == known and len(known) == 2
    whole = next(line for line in right.lines if line.get_marker() == "o")
    assert drawn.get_markersize() < 0.7 * whole.get_markersize()


def test_spans_are_means_over_seeds_beside_uniform_attention(tmp_path):
    rows = [span_row(seed=s, span=v, uniform=50.0) for s, v in enumerate((10.0, 20.0))]
    rows.append(span_row(layer=0, span=40.0, uniform=50.0))
    spans_of(tmp_path, rows)
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
    assert "transformer (−2.00 ± 0.00)" in words(drawn / "speed.svg")
    assert "linear (+1.05 ± 0.00)" in words(drawn / "memory.svg")


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
    said = {name: words_of(name, tmp_path) for name in FIGURES}
    assert all(said.values())
    text = said["performance"]
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
    assert sorted(label.get_text() for label in axes.texts) == sorted(models)
    boxes = [label.get_window_extent(renderer) for label in axes.texts]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    frame = axes.get_window_extent(renderer)
    assert all(frame.contains(b.x0, b.y0) and frame.contains(b.x1, b.y1) for b in boxes)
    for line in axes.lines:  # the Pareto front's; and those that end at a name that lies off
        path = axes.transData.transform_path(line.get_path())
        touched = sum(path.intersects_bbox(box.padded(-1), filled=False) for box in boxes)
        assert touched == 0
    for marker in axes.collections:
        (x, y), radius = (
            marker.get_offset_transform().transform(marker.get_offsets())[0],
            (marker.get_sizes()[0] ** 0.5 / 2 * figure.dpi / 72),
        )
        for box in boxes:
            near = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
            assert (near[0] - x) ** 2 + (near[1] - y) ** 2 >= radius**2


@pytest.mark.parametrize("name", FIGURES)
def test_everything_is_inside_the_figure_and_nothing_below_overlaps(crowded, name):
    figure = crowded(name)
    renderer = figure.canvas.get_renderer()
    parts = [*figure.axes, *figure.legends, *(text for text in figure.texts if text.get_text())]
    boxes = [part.get_tightbbox(renderer) for part in parts]
    page = figure.bbox.padded(1)
    assert all(page.contains(b.x0, b.y0) and page.contains(b.x1, b.y1) for b in boxes)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("name", FIGURES)
def test_no_two_ticks_of_an_axis_overlap(tmp_path, name):
    experiment(tmp_path, bad=LOST, joules=2e5)
    figure = figure_of(name, tmp_path)
    figure.draw_without_rendering()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        names = [t for t in axis.get_ticklabels(which="both") if t.get_text() and t.get_visible()]
        boxes = [upright(name) for name in names if axis.axes.get_visible()]
        for (one, a), (other, b) in itertools.combinations(zip(names, boxes, strict=True), 2):
            assert not a.overlaps(b), (one, other)


def upright(name):
    """A label's box; of one turned by an angle the part at the axis, as wide as it is across."""
    box = name.get_window_extent()
    if not name.get_rotation():
        return box
    height = name.get_fontsize() * name.figure.dpi / 72
    width = height / math.sin(math.radians(name.get_rotation()))
    return Bbox.from_bounds(box.x1 - width, box.y1 - height, width, height)


@pytest.mark.parametrize("name", FIGURES)
def test_all_text_can_be_read_in_a_column_3_3_inches_wide(crowded, name):
    figure = crowded(name)
    assert figure.get_figwidth() in (3.5, 7.0)
    sizes = [
        text.get_fontsize() for text in figure.findobj(matplotlib.text.Text) if text.get_text()
    ]
    assert min(sizes) * 3.3 / 3.5 >= 6


def test_a_pdf_has_letters_that_publishers_take(drawn):
    content = (drawn / "speed.pdf").read_bytes()
    assert b"/FontFile2" in content and b"/Type3" not in content  # TrueType


def test_no_two_models_look_the_same_and_none_changes_with_its_company():
    names = [*MODELS, *(f"extension-{i}" for i in range(20))]
    looks = style.looks(names)
    keys = ("color", "marker", "linestyle")
    assert len({tuple(look[k] for k in keys) for look in looks.values()}) == len(names)
    assert style.looks(["linear"])["linear"] == looks["linear"]
    # In grey: by marker and dashes alone, for the arena's models. In discs: by colour alone.
    arena = style.looks([*attention.names(), "transformer-materialised"]).values()
    assert len({tuple(look[k] for k in keys[1:]) for look in arena}) == len(arena)
    assert len({look["color"] for look in arena}) == len(arena)


def test_accuracies_at_chance_count_and_are_said(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["pathx"], seeds=[0])
    assert "not above chance" in words_of("performance", tmp_path)
    experiment(tmp_path, models=THREE, tasks=["text"], seeds=[0])
    assert "not above chance" not in words_of("performance", tmp_path)


def test_the_mean_is_over_the_tasks_that_some_model_learned_and_bars_are_over_seeds(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["text", "pathx", "image"], seeds=(0, 1))
    figure = figure_of("performance", tmp_path)
    (axes,) = figure.axes
    rows = read_table(tmp_path / "scores.parquet", ScoreRow).to_pylist()
    for marker, model in zip(axes.collections, THREE, strict=True):
        seeds = [
            np.mean([
                r["accuracy"] for r in rows
                if (r["model"], r["seed"]) == (model, seed) and r["task"] != "pathx"
            ])
            for seed in (0, 1)
        ]  # fmt: skip
        x, y = marker.get_offsets()[0]
        assert y == pytest.approx(np.mean(seeds))
        bars = [line for line in axes.lines if set(line.get_xdata()) == {x}]
        assert [sorted(bar.get_ydata()) for bar in bars] == [pytest.approx(sorted(seeds))]
    said = " ".join(" ".join(text.get_text().split()) for text in figure.texts)
    assert "Mean over text, image; not pathx, which no model learned." in said
    assert "2 tasks" in axes.get_ylabel()


def test_the_key_has_two_sizes_or_more_and_a_line_that_is_not_drawn_has_no_note(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["text"], seeds=[0], lengths=[64])
    sizes = zip(THREE, (45, 60, 69), strict=True)
    write_rows(tmp_path / "memory.parquet",
               [memory_row(m, 64, peak_bytes=10**6 * size) for m, size in sizes], MemoryRow)  # fmt: skip
    write_rows(tmp_path / "speed.parquet",
               [speed_row(m, 64, train_steps_per_s=r) for m, r in zip(THREE, (9, 2, 1), strict=True)],
               SpeedRow)  # fmt: skip
    rows = [score_row("text", m, accuracy=a) for m, a in zip(THREE, (80, 70, 60), strict=True)]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    figure = figure_of("performance", tmp_path)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["45 MB", "69 MB"]
    assert not any("Dotted line" in text.get_text() for text in figure.texts)


def test_the_area_is_proportional_to_memory(tmp_path):
    crowd(tmp_path, 3)
    (axes,) = figure_of("performance", tmp_path).axes
    sizes = [marker.get_sizes()[0] for marker in axes.collections]
    assert sizes[1] / sizes[0] == pytest.approx(2) and sizes[2] / sizes[0] == pytest.approx(3)


def test_no_state_is_left_behind(drawn, tmp_path):
    draw("speed", drawn, tmp_path)
    assert matplotlib.rcParams["svg.hashsalt"] == matplotlib.rcParamsDefault["svg.hashsalt"]
    assert matplotlib.rcParams["font.family"] == matplotlib.rcParamsDefault["font.family"]
    assert matplotlib.pyplot.get_fignums() == []


def test_noise_at_chance_looks_small(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["pathx", "text"], seeds=(0, 1))
    noise, learned = (axes.get_ylim() for axes in figure_of("learning_curves", tmp_path).axes)
    assert noise[1] - noise[0] == pytest.approx(learning_curves.FLAT) and noise[0] < 50 < noise[1]
    assert learned[1] - learned[0] > learning_curves.FLAT


@pytest.mark.parametrize("count", range(1, 8))
def test_panels_are_balanced(count):
    _, panels = style.panels("", [str(i) for i in range(count)], 1.0, "")
    columns = len({round(axes.get_position().x0, 2) for axes in panels})
    assert columns == {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 7: 3}[count]


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_band_needs_three_seeds_and_chance_is_that_of_the_validation_split(tmp_path, seeds):
    experiment(tmp_path, models=["linear"], tasks=["text", "image"], seeds=range(seeds))
    rows = read_table(tmp_path / "scores.parquet", ScoreRow).to_pylist()
    rows = [r | ({"validation": "test set"} if r["task"] == "text" else {}) for r in rows]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    for axes, chance in zip(figure_of("learning_curves", tmp_path).axes, (1, 0), strict=True):
        assert len(axes.collections) == (seeds > 2)
        assert len(axes.lines) == 1 + 2 * (seeds == 2) + chance
        steps = set(range(100, 2001, 100))
        assert len(axes.get_xticks()) == 5 and set(axes.get_xticks()) <= steps
        assert axes.get_xticks().max() == 2000


def rise(*values, seeds=1) -> list[dict]:
    """Curves with these means, that move up and down by half a point."""
    return [{i: v + (-1) ** (i + s) / 2 for i, v in enumerate(values)} for s in range(seeds)]


@pytest.mark.parametrize(
    ("curves", "found"),
    [
        (rise(*range(10, 70, 5)), True),
        (rise(10, 20, 30, 40), True),
        (rise(10, 20, 30, 40, seeds=3), True),
        (rise(*range(10, 50, 5), 60, 66, 70, 71, seeds=2), True),
        (rise(*range(10, 50, 5), 60, 66, 70, 69, seeds=2), False),  # the best is not the last
        (rise(10, 60, *[70] * 10), False),
        (rise(10, 20), False),
        ([{0: 50.0, 1: 50.0, 2: 50.0}], False),
        ([], False),
        ([{}], False),
    ],
)
def test_a_curve_that_stopped_while_it_rose(curves, found):
    assert learning_curves.still_rising(curves) == found


def test_noise_hardly_ever_rises():
    random = np.random.default_rng(4)
    flat = [[dict(enumerate(random.normal(50, 1, 12))) for _ in range(2)] for _ in range(400)]
    assert sum(map(learning_curves.still_rising, flat)) < 0.05 * len(flat)


def test_curves_that_still_rise_are_named(tmp_path):
    experiment(tmp_path, models=["linear", "local"], tasks=["text"], seeds=(0, 1))
    rows = read_table(tmp_path / "history.parquet", HistoryRow).to_pylist()
    rows = [r | ({"accuracy": r["step"] / 40.0} if r["model"] == "local" else {}) for r in rows]
    write_rows(tmp_path / "history.parquet", rows, HistoryRow)
    draw("learning_curves", tmp_path)
    said = words(tmp_path / "learning_curves.svg")
    assert "rises at p < 0.05): text: local." in said and "pale lines: the two seeds" in said


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
        draw("sped", tmp_path)


def test_the_front_is_of_models_that_none_equals_or_beats_in_both(tmp_path):
    places = {
        "slow": (1, 70),
        "middle": (2, 60),
        "beaten": (1.5, 55),
        "equal": (2, 58),
        "as slow": (0.5, 70),
    }
    places |= {"fast": (3, 50), "partial": (4, 90), "unmeasured": (None, 99)}
    points = [{"model": m, "x": x, "y": y, "lacks": ""} for m, (x, y) in places.items()]
    points[list(places).index("partial")]["lacks"] = "text 1/2 ok"
    assert [p["model"] for p in performance.pareto(points)] == ["slow", "middle", "fast"]
    experiment(tmp_path, models=THREE, tasks=["text"], seeds=[0])
    assert "Dotted line: " in words_of("performance", tmp_path)


def test_the_heat_map_says_in_each_cell_what_it_is(tmp_path):
    bad = {("text", "local", 1): "diverged", **{("image", "linear", s): "oom" for s in (0, 1)}}
    experiment(tmp_path, models=THREE, tasks=["text", "image", "pathx"], seeds=(0, 1), bad=bad)
    rows = read_table(tmp_path / "scores.parquet", ScoreRow).to_pylist()
    rows = [r for r in rows if (r["task"], r["model"]) != ("image", "local")]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    axes = figure_of("scores", tmp_path).axes[0]
    at = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in axes.texts}
    cells = [[at[x, y] for x in range(3)] for y in range(3)]
    number = re.compile(r"\d\d\.\d")
    assert [[bool(number.fullmatch(text)) for text in line] for line in cells] == [
        [True, True, False], [True, False, False], [False, False, False],
    ]  # fmt: skip
    assert [line[2] for line in cells] == ["FAIL"] * 3
    assert (cells[1][1], cells[2][0], cells[2][1]) == ("oom", "1/2 ok", "–")
    hatched = {(round(p.get_x()), round(p.get_y())) for p in axes.patches if p.get_hatch()}
    assert hatched == {(1, 1), (0, 2), (1, 2)}


def test_a_difference_is_ours_minus_the_published_value(tmp_path):
    rows = [score_row("text", "linear", s, accuracy=a) for s, a in enumerate((66.4, 67.4))]
    rows += [score_row("text", "local", accuracy=50.0), score_row("text", "new", accuracy=60.0)]
    rows += [score_row("pathx", "linear", accuracy=50.0)]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    figure = figure_of("difference", tmp_path)
    (axes,) = figure.axes  # nothing was published for pathx but FAIL
    dots = [line for line in axes.lines if line.get_marker() not in ("", "None")]
    assert [dot.get_xdata()[0] for dot in dots] == [pytest.approx(1.0)]  # published: 65.90
    assert [text.get_text() for text in axes.texts] == ["FAIL here"]
    assert any("Without a published value: new." in t.get_text() for t in figure.texts)


def test_a_difference_is_hollow_where_it_is_reproduced_and_half_where_that_is_open(tmp_path):
    rows = [score_row("text", "linear", s, accuracy=65.8 + s / 10) for s in range(3)]
    rows += [score_row("text", "transformer", s, accuracy=80.0 + s / 100) for s in range(3)]
    rows += [score_row("text", "local", s, accuracy=60.0 + 9 * s) for s in range(3)]
    rows += [score_row("listops", "local", s, accuracy=17.0) for s in range(3)]
    rows += [score_row("listops", "transformer")]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    text, listops = figure_of("difference", tmp_path).axes
    assert [x.get_text() for x in listops.texts] == ["both at chance"]
    dots = [x for x in text.lines if x.get_marker() not in ("", "None")]
    shown = [(x.get_fillstyle(), x.get_markerfacecolor() == "white") for x in dots]
    assert shown == [("full", True), ("full", False), ("left", False)]
    ends = [x for x in text.lines if x.get_marker() == "None" and len(x.get_xdata()) == 2]
    band = text.patches[0].get_zorder()
    assert len(ends) == 4 and all(x.get_zorder() > band for x in ends)  # three, and that of zero
    half = 2.919986 * 0.1 / 3**0.5  # Student's t with 2 degrees of freedom, 95 %
    assert ends[1].get_xdata() == pytest.approx([-half, half], abs=1e-6)


def test_a_task_of_our_own_is_not_compared_and_said(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["text", "image"], seeds=(0, 1))
    rows = read_table(tmp_path / "scores.parquet", ScoreRow).to_pylist()
    rows = [r | {"dataset": r["dataset"].replace("text", "text-own")} for r in rows]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    figure = figure_of("difference", tmp_path)
    assert [axes.get_title() for axes in figure.axes] == ["image"]
    said = "Not compared, as variants of our own: text."
    assert any(said in " ".join(t.get_text().split()) for t in figure.texts)
    rows = [r | {"dataset": f"{r['task']}-own"} for r in rows]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    figure = figure_of("difference", tmp_path)
    assert not figure.axes and any("text, image" in t.get_text() for t in figure.texts)


def test_nothing_of_the_quick_protocol_is_compared_with_the_paper(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["text"], protocol="quick")
    assert "No comparison: the protocol quick" in words_of("difference", tmp_path)


def test_the_critical_difference_is_that_of_the_literature():
    # Demšar 2006, table 5: q at 0.05 for 2 to 10 models; his example of 4 models on 14 data sets.
    q = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for models, value in enumerate(q, start=2):
        factor = (models * (models + 1) / 6) ** 0.5
        assert ranks.critical_difference(models, 1) / factor == pytest.approx(value, abs=1e-3)
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)


def test_too_few_tasks_or_models_are_those_that_no_test_could_tell_apart():
    few = ranks.FEWEST - 1  # the largest difference of average ranks is models - 1
    assert all(ranks.critical_difference(models, few) > models - 1 for models in range(2, 60))
    assert ranks.critical_difference(ranks.FEWEST, ranks.FEWEST) < ranks.FEWEST - 1


def test_bars_have_the_same_bits_in_every_process(tmp_path):
    """scikit-posthocs has a bar's models as a set of names, in another order in each process."""
    names = sorted(attention.names())[:14]
    rows = [
        score_row(task, model, accuracy=60 + place)
        for task in ("listops", "text", "image")
        for place, model in enumerate(names)
    ]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    (axes,) = figure_of("ranks", tmp_path).axes
    level = [line.get_xdata() for line in axes.lines if len(set(line.get_ydata())) == 1]
    bars = [list(x) for x in level if len(x) > 2]
    assert bars and all(bar == sorted(bar) for bar in bars)


@pytest.mark.parametrize("spread", [0.0, 8.0], ids=["alike in order", "in disorder"])
def test_the_bars_join_the_models_that_nemenyis_test_does_not_tell_apart(tmp_path, spread):
    random = np.random.default_rng(3)
    rows = [
        score_row(task, model, accuracy=60 + 2 * m + spread * random.normal())
        for task in TASKS
        for m, model in enumerate(MODELS[:8])
    ]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    values, _, _ = ranks.blocks(rows)
    table = pandas.DataFrame(values).T[MODELS[:8]]
    p = scikit_posthocs.posthoc_nemenyi_friedman(table)
    alike = {pair for pair in itertools.combinations(MODELS[:8], 2) if p.loc[pair] >= 0.05}
    place = table.rank(axis=1, ascending=False).mean()
    figure = figure_of("ranks", tmp_path)
    (axes,) = figure.axes
    flat = [line for line in axes.lines if len({*line.get_ydata()}) == 1 < len(line.get_ydata())]
    bars = [line.get_xdata() for line in flat if line.get_linewidth() > 1.5]  # CD is thinner
    joined = {
        (one, other)
        for one, other in itertools.combinations(MODELS[:8], 2)
        for ends in bars
        if all(min(ends) <= place[m] + 1e-9 and place[m] <= max(ends) + 1e-9 for m in (one, other))
    }
    assert bars and joined == alike
    chi2, of_all = friedmanchisquare(*table.T.to_numpy())
    notes = " ".join(" ".join(text.get_text() for text in figure.texts).split())
    assert (
        f"of 8 models over 6 tasks ({', '.join(TASKS)}): χ² = {chi2:.1f}, p = {of_all:.3g}" in notes
    )
    none = "no difference is shown, and two models without a common bar show none either"
    assert (of_all < 0.05) == (spread == 0) == (none not in notes)


def test_only_models_with_every_task_are_ranked_and_failures_tie(tmp_path):
    bad = {("text", "sinkhorn", 1): "diverged"}
    models = [*THREE, "sinkhorn", "bigbird"]
    experiment(tmp_path, models=models, seeds=(0, 1), bad=bad)
    rows = read_table(tmp_path / "scores.parquet", ScoreRow).to_pylist()
    for r in rows:
        if r["task"] == "listops" and r["model"] in ("linear", "local"):
            r["accuracy"] = r["chance"] + (0.1 if r["model"] == "linear" else 0.0)
    values, left_out, tied = ranks.blocks(rows)
    assert left_out == ["sinkhorn"] and tied == ["pathx"]
    assert list(values) == ["listops", "text", "retrieval", "image", "pathfinder"]
    assert all(list(own) == [*THREE, "bigbird"] for own in values.values())
    assert values["listops"]["linear"] == values["listops"]["local"] == TASKS["listops"]
    text = words_of("ranks", tmp_path)
    assert "Without every task, not ranked: sinkhorn." in text
    assert "not counted: pathx" in text and "CD = 2.10" in text


def test_energy_is_shown_where_a_driver_reported_it(tmp_path):
    experiment(tmp_path, models=THREE, tasks=["text"], seeds=(0, 1))
    assert "Energy not measured:" in words_of("energy", tmp_path)
    experiment(tmp_path, models=THREE, tasks=["text"], seeds=(0, 1), joules=2e5)
    (axes,) = figure_of("energy", tmp_path).axes
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() not in ("", "None")]
    assert marks == pytest.approx([210, 410, 610])  # kJ, means over the seeds
