"""The required span by intervention: its definition, its table and its figure."""

from __future__ import annotations

import drawn
import pytest
from fabricated import score_row, span_row, table
from hypothesis import given
from hypothesis import strategies as st

from lra.report import registry
from lra.results.records import ScoreRow, SpanRow, write_rows
from lra.stats.reach import SHARE, windows

WIDTHS = [1, 2, 4, 8, 16]


def rows_of(floor, at, n_test=100_000, **lost) -> list[dict]:
    """Of one task: accuracies of `identity` by seed, and of the windows. lost: a model's status."""
    models = {"identity": floor} | {f"near-{width}": values for width, values in at.items()}
    rows = [
        score_row(model=model, seed=seed, accuracy=accuracy, n_test=n_test)
        for model, values in models.items()
        for seed, accuracy in enumerate(values)
    ]
    for row in rows:
        if (status := lost.get(row["model"].replace("-", "_"))) and row["seed"] == 0:
            row |= {"status": status, "accuracy": None, "loss": None}
    return rows


def only(rows):
    (found,) = windows(rows)
    return found


@pytest.mark.parametrize(
    ("at", "tokens"),
    [
        ([50, 60, 69, 68, 70], 4),  # 69 is 95 % of the gain of 20
        ([50, 60, 68.9, 69, 70], 8),
        ([70, 70, 70, 70, 70], 1),
        ([50, 50, 50, 50, 70], 16),
        ([50, 75, 60, 60, 70], 2),  # a window may be better than all tokens
    ],
)
def test_the_smallest_window_that_reaches_95_percent_of_the_gain(at, tokens):
    found = only(rows_of([50.0] * 2, {w: [a] * 2 for w, a in zip(WIDTHS, at, strict=True)}))
    assert found.required().tokens == tokens
    assert found.required().gain.mean == pytest.approx(20)


accuracies = st.lists(st.floats(0, 100), min_size=2, max_size=2)


@given(accuracies, st.lists(accuracies, min_size=2, max_size=5))
def test_the_definition(floor, at):
    found = only(rows_of(floor, dict(zip(WIDTHS, at, strict=False))))
    required = found.required()
    means = [sum(values) / 2 for values in at]
    base = sum(floor) / 2
    if required.verdict == "none needed":
        assert required.gain.low <= 0 and required.tokens is None
    else:
        wanted = base + SHARE * (means[-1] - base)
        assert means[-1] > base
        index = WIDTHS.index(required.tokens)
        assert means[index] >= wanted - 1e-9
        assert all(mean < wanted + 1e-9 for mean in means[:index])


def test_nothing_is_needed_where_the_gain_is_not_told_apart_from_zero():
    at = {1: [50.0, 51.0], 16: [51.0, 52.0]}
    assert only(rows_of([50.0, 50.5], at, n_test=200)).required().verdict == "none needed"
    assert only(rows_of([50.0, 50.5], at, n_test=200_000)).required().verdict == "ok"
    assert only(rows_of([60.0, 60.0], at, n_test=200_000)).required().verdict == "none needed"
    # from three seeds on the seeds count, not the examples
    three = {1: [50.0] * 3, 16: [49.0, 50.0, 54.0]}
    assert only(rows_of([50.0] * 3, three, n_test=200_000)).required().verdict == "none needed"


def test_a_lost_seed_makes_it_incomplete_only_where_it_counts():
    at = {1: [50.0] * 2, 4: [70.0] * 2, 8: [70.0] * 2, 16: [70.0] * 2}
    for model, verdict in (("near_16", "incomplete"), ("identity", "incomplete"),
                           ("near_1", "incomplete"), ("near_8", "ok")):  # fmt: skip
        assert only(rows_of([50.0] * 2, at, **{model: "oom"})).required().verdict == verdict


def test_windows_are_those_of_one_mechanism_with_several_widths_beside_no_mixing():
    rows = rows_of([50.0], {16: [70.0], 1: [60.0]})
    rows += [score_row(model=model, accuracy=65.0) for model in ("conv", "mean", "longformer")]
    found = only(rows)
    assert (found.mechanism, list(found.at), found.floor[0]["model"]) == (
        "longformer", [1, 16], "identity",
    )  # fmt: skip
    assert windows(row for row in rows if row["model"] != "identity") == []
    assert windows(row for row in rows if row["model"] != "near-1") == []


@pytest.fixture
def made(tmp_path):
    """Text needs 4 tokens; image none; a transformer's spans of text are known."""
    at = {1: [60.0, 61.0], 4: [69.8, 69.6], 16: [70.0, 70.2]}
    rows = rows_of([50.0, 50.4], at)
    rows += [
        row | {"task": "image"} for row in rows_of([50.0] * 2, {1: [50.0] * 2, 16: [50.0] * 2})
    ]
    rows += [
        score_row(task, model, seed, accuracy=68.0 + seed)
        for task in ("text", "image") for model in ("conv", "transformer") for seed in (0, 1)
    ]  # fmt: skip
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    spans = [
        span_row(model="transformer", method=method, seed=seed, span=span + seed, uniform=21.0)
        for method, span in (("attention", 20.0), ("gradient", 6.0)) for seed in (0, 1)
    ]  # fmt: skip
    write_rows(tmp_path / "span.parquet", spans, SpanRow)
    return tmp_path


def test_the_table_has_the_three_spans_and_the_accuracy_at_each_window(made):
    lines, text = table("reach", made)
    of = {line["task"]: line for line in lines}
    assert (of["text"]["required"], of["text"]["widest"]) == ("4", "16")
    assert float(of["text"]["gain"]) == pytest.approx(19.9)
    assert of["text"]["by_seed"] == "4, 4"
    assert [float(of["text"][f"span_{m}"]) for m in ("attention", "gradient", "uniform")] == [
        20.5, 6.5, 21.0,
    ]  # fmt: skip
    assert (of["image"]["verdict"], of["image"]["span_attention"]) == ("none needed", "")
    (row,) = (x for x in text.splitlines() if x.startswith("| near-4"))
    assert "69.70 ± 0.1<br><sub>98 %</sub>" in row
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert names.index("identity") < names.index("near-1") < names.index("near-4")
    assert names.index("near-16") < names.index("conv")
    assert "| none needed<br><sub>gain 0.0 " in text


def test_the_figure_has_a_line_over_the_windows_with_its_seeds_and_a_ring(made):
    figure = drawn.figure("reach", made)
    text, image = figure.axes
    lines = [x for x in text.lines if len(x.get_xdata()) == 3 and x.get_linestyle() != "None"]
    assert [x.get_xdata().tolist() for x in lines] == [[1, 4, 16]]
    assert lines[0].get_ydata() == pytest.approx([60.5, 69.7, 70.1])
    rings = [[x.get_xdata()[0] for x in axes.lines if x.get_markersize() == 9]
             for axes in (text, image)]  # fmt: skip
    assert rings == [[4], []]
    levels = {x.get_ydata()[0] for x in text.lines if list(x.get_xdata()) == [0, 1]}
    assert levels == {50.2, 68.5}  # identity; conv and transformer


def test_an_experiment_without_windows_says_so_in_one_line(tmp_path):
    write_rows(tmp_path / "scores.parquet", [score_row()], ScoreRow)
    write_rows(tmp_path / "span.parquet", [], SpanRow)
    lines, text = table("reach", tmp_path)
    assert lines == [] and "No mechanism was trained with several windows" in text
    assert "No mechanism was trained with several windows" in drawn.words("reach", tmp_path)
    assert registry.figure("reach").reads == ("scores",)
