"""A sweep of learning rates: its cells, the choice on validation alone, and what shows it."""

from __future__ import annotations

import re
from statistics import fmean

import drawn
import pytest
import yaml
from fabricated import baseline_row, score_row, span_row, table
from hypothesis import given
from hypothesis import strategies as st
from test_render import check_forms

from lra.config.annotate import annotated
from lra.config.cell import to_yaml
from lra.config.rates import swept, unswept
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.results.baselines import BaselineRow
from lra.results.rates import NO_SWEEP, chosen, sweeps
from lra.results.records import HistoryRow, PredictionRow, ScoreRow, SpanRow, write_rows
from tiny import ROOT, make_cell

FACTORS = (0.25, 1.0, 4.0)
rates = st.floats(min_value=1e-6, max_value=1e6)


def rows_of(model="linear", task="text", validation=(), test=(), **changes) -> list[dict]:
    """Two seeds at each of FACTORS; validation, test: means in percent, a status for a lost seed."""
    rows = []
    for factor, val, own in zip(FACTORS, validation, test or validation, strict=True):
        for seed, apart in ((0, -0.5), (1, 0.5)):
            lost = {"status": val} if isinstance(val, str) and seed else {}
            val_accuracy, accuracy = (60.0 if isinstance(x, str) else x + apart for x in (val, own))
            row = score_row(task, swept(model, factor), seed, accuracy=accuracy, **lost)
            rows.append(row | {"val_accuracy": val_accuracy, "mechanism": model} | changes)
    return rows


def opened(**given) -> Arena:
    file = ROOT / "config/rates.yaml"
    return Arena.open(yaml.safe_load(file.read_text()) | given, [file], ROOT, sources=False)


@given(rates)
def test_a_name_tells_the_model_and_the_factor(factor):
    assert unswept(swept("near-4.x", factor)) == ("near-4.x", factor)


def test_names_of_whole_factors_are_short():
    assert [swept("s4d", factor) for factor in FACTORS] == ["s4d@0.25", "s4d", "s4d@4"]


def test_a_sweep_adds_cells_and_leaves_those_that_there_are():
    with_sweep, without = opened(rates=[0.25, 1, 4]), opened(rates=[1])
    own, more = set(without.experiment.cells), set(with_sweep.experiment.cells)
    assert own < more and len(more) == 3 * len(own)
    assert "image/linear@4/seed2" in more
    assert with_sweep.resolve("image", "xl", 1)[0] == without.resolve("image", "xl", 1)[0]
    assert [*with_sweep.profile_rows()] == [*without.profile_rows()]
    assert set(with_sweep.span_models()) == {"transformer@0.25", "transformer", "transformer@4"}


def test_a_cell_of_it_differs_in_name_and_rate_alone():
    arena = opened(rates=[1, 3], overrides={"training": {"learning_rate": 0.05}})
    one, other = (arena.resolve("image", name, 1)[0].model_dump() for name in ("s4d", "s4d@3"))
    assert other["training"].pop("learning_rate") == 0.15  # 0.05 * 3 is a little more
    assert (one["training"].pop("learning_rate"), other.pop("model")) == (0.05, "s4d@3")
    del one["model"]
    assert one == other
    assert "config/rates.yaml: rates, 3 times " in annotated(arena, "image", "s4d@3")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0.001, 0.004], "factors of each model's own learning rate are wanted, and 1 among them"),
        ([1, 0], "rates.1: Input should be greater than 0, not 0"),
        ([1, 2, 2], "2.0 is listed twice"),
    ],
)
def test_a_mistake_is_one_line(given, said):
    with pytest.raises(LRAError) as error:
        opened(rates=given)
    assert f"config/rates.yaml: rates{'.1' if 0 in given else ''}: " in str(error.value)
    assert said in str(error.value) and "\n" not in str(error.value)


means = st.floats(0, 100)


@given(st.lists(means, min_size=3, max_size=3), st.lists(means, min_size=3, max_size=3))
def test_the_choice_is_by_validation_whatever_the_test_says(validation, test):
    rows = rows_of(validation=validation, test=test)
    (sweep,) = sweeps(rows)
    at = {f: fmean(r["val_accuracy"] for r in own) for f, own in sweep.at.items()}
    assert at[sweep.best] == max(at.values())
    assert sweep.at_edge == (sweep.best != 1.0)
    found = chosen(rows)
    assert {row["trained"] for row in found} == {swept("linear", sweep.best)}
    assert [(row["model"], row["seed"]) for row in found] == [("linear", 0), ("linear", 1)]


def test_of_tokens_the_lowest_validation_loss_counts_whatever_the_accuracies_say():
    rows = rows_of(validation=(90.0, 60.0, 95.0), objective="next")
    losses = {"linear@0.25": 1.0, "linear": 0.9, "linear@4": 1.1}
    (found,) = sweeps(row | {"val_loss": losses[row["model"]]} for row in rows)
    assert found.best == 1.0


def test_of_equal_means_the_nearest_to_the_own_rate_counts():
    assert [s.best for s in sweeps(rows_of(validation=(70, 70, 70)))] == [1.0]
    assert [s.best for s in sweeps(rows_of(validation=(70, 60, 70)))] == [0.25]


def test_a_rate_with_a_lost_seed_is_out_of_the_choice_and_no_zero():
    (sweep,) = sweeps(rows_of(validation=(60, 61, "diverged")))
    assert (sweep.best, sweep.at_edge, sweep.validation) == (1.0, False, {0.25: 60, 1.0: 61})
    (lost,) = sweeps(rows := rows_of(validation=("oom",) * 3))
    assert (lost.best, lost.at_edge, lost.working) == (None, False, [])
    assert {row["trained"] for row in chosen(rows)} == {"linear"}


def test_nothing_is_chosen_on_the_test_set():
    rows = rows_of(validation=(60, 61, 90))
    rows = [row | {"validation": "test set"} for row in rows]
    assert {row["trained"] for row in chosen(rows)} == {"linear"}


def test_rows_without_a_sweep_stay():
    rows = [score_row(model=model, seed=seed) for model in ("linear", "local") for seed in (0, 1)]
    assert sweeps(rows) == []
    assert chosen(rows) == [row | {"trained": row["model"]} for row in rows]


@pytest.fixture
def made(tmp_path):
    """set is best at an edge, xl at its own rate where the highest diverged; linear was not lost."""
    rows = rows_of("linear", validation=(70, 72, 71.5), test=(70, 73, 99))
    rows += rows_of("set", validation=(60, 64, 68), test=(61, 65, 69))
    rows += rows_of("xl", validation=(60, 64, "diverged"), test=(61, 65, 0))
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    curves, spans = [], []
    for row in rows:
        factor, place = unswept(row["model"])[1], tmp_path / "cells/text" / row["model"]
        own = {key: row[key] for key in ("task", "model", "seed")}
        cell = make_cell(**own, experiment="demo", training={"learning_rate": 0.004 * factor})
        place = place / f"seed{row['seed']}"
        place.mkdir(parents=True)
        (place / "config.yaml").write_text(to_yaml(cell))
        answers = [{"label": 1, "prediction": int(factor == 1)}] * 20
        write_rows(place / "predictions.parquet", answers, PredictionRow)
        curve = {"step": 10, "loss": 1.0, "learning_rate": 0.0, "seconds": 1.0}
        curves.append(own | curve | {"split": "val", "accuracy": 10 * factor})
        spans.append(span_row(**own, span=10 * factor))
    write_rows(tmp_path / "history.parquet", curves, HistoryRow)
    write_rows(tmp_path / "span.parquet", spans, SpanRow)
    write_rows(tmp_path / "baselines.parquet", [baseline_row()], BaselineRow)
    return tmp_path


def test_the_table_has_every_rate(made):
    lines, text = table("rates", made)
    assert len(lines) == 9
    of = {(x["model"], x["factor"]): x for x in lines}
    assert (of["set", "4.0"]["chosen"], of["set", "4.0"]["edge"]) == ("True", "True")
    assert (of["linear", "4.0"]["chosen"], of["linear", "4.0"]["works"]) == ("False", "True")
    assert (of["xl", "4.0"]["validation"], of["xl", "4.0"]["status"]) == ("", "1/2 ok")
    assert float(of["linear", "0.25"]["learning_rate"]) == 0.001
    assert re.search(r"\| +×0.25<br>0.001 \|", text)
    (row,) = (x for x in text.splitlines() if x.startswith("| set"))
    row = re.sub(" +", " ", row)
    assert "| **68.0**<br><sub>test 69.00</sub> | 0.016<br><sub>edge</sub> |" in row


def test_every_form_of_it_shows_the_same_cells(made):
    table("rates", made)
    check_forms(made, "rates")


def test_the_accuracy_table_has_the_chosen_ones_and_says_so(made):
    lines, text = table("accuracy", made)
    assert {x["model"]: float(x["mean"]) for x in lines} == {"linear": 73, "set": 69, "xl": 65}
    said = "×0.25, ×1, ×4 the model's own, the best mean over seeds on validation: "
    assert f"{said}×1 text (linear, xl); ×4 text (set)." in text
    assert "At the edge of the sweep, sweep further: ×4 text (set)." in text
    assert "Not every seed ok, so out of the choice: xl on text at ×4 (1/2 ok)." in text


def test_other_tables_and_figures_read_the_chosen_cells_files(made):
    lines, _ = table("significance", made)
    assert {x["model"]: float(x["accuracy"]) for x in lines} == {"linear": 100, "set": 0, "xl": 100}
    lines, _ = table("span", made)
    assert {x["model"]: float(x["span"]) for x in lines} == {"linear": 10, "set": 40, "xl": 10}
    curves = drawn.figure("learning_curves", made).axes[0].lines
    assert {line.get_ydata()[0] for line in curves if len(line.get_ydata())} == {10, 40}
    _, text = table("tasks", made)
    assert "linear, set, xl, each" in text and "@" not in text


def test_the_figure_has_a_line_a_model_and_rings_the_chosen(made):
    (axes,) = drawn.figure("rates", made).axes
    lines = [x for x in axes.lines if x.get_marker() == "" and len(x.get_xdata()) == 3]
    assert [list(x.get_ydata()) for x in lines] == [[70, 72, 71.5], [60, 64, 68]]
    assert list(lines[0].get_xdata()) == [0.001, 0.004, 0.016]
    rings = [(*x.get_xdata(), *x.get_ydata()) for x in axes.lines if x.get_markersize() == 10]
    assert rings == [(0.004, 72), (0.016, 68), (0.004, 64)]
    hollow = [list(x.get_ydata()) for x in axes.lines if x.get_markerfacecolor() == "white"]
    assert hollow == [[70], [60, 64], [60]]
    assert [x.get_xdata()[0] for x in axes.lines if x.get_marker() == "x"] == [0.016]
    assert "× not every seed ok at this rate, so no mean: xl on text." in drawn.words("rates", made)


def test_an_experiment_without_a_sweep_says_so_in_one_line(tmp_path):
    write_rows(tmp_path / "scores.parquet", [score_row()], ScoreRow)
    lines, text = table("rates", tmp_path)
    assert lines == [] and NO_SWEEP in text
    assert NO_SWEEP.replace("`", "") in drawn.words("rates", tmp_path).replace("`", "")
