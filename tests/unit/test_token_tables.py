"""The tables `language` and `recall` and the figure `bits`: what counts, beside which floors."""

from __future__ import annotations

import math

import pytest
from drawn import figure, files, words
from fabricated import PAPER, baseline_row, score_row, table

from lra.compare.experiment import opened
from lra.config.cell import to_yaml
from lra.config.rates import unswept
from lra.core.errors import LRAError
from lra.data.sources import OF_TOKENS
from lra.report import page, registry
from lra.report.asked import WHAT
from lra.report.tables.write import write
from lra.results.baselines import BaselineRow
from lra.results.collect import collect
from lra.results.points import MemoryRow, SpeedRow
from lra.results.records import (
    Part,
    PartRow,
    PredictionRow,
    ScoreRecord,
    ScoreRow,
    read_table,
    write_record,
    write_rows,
)
from tiny import ROOT, make_cell

NATS = math.log(2)


def token_row(model, bits, objective="next", task="bytes", **changes) -> dict:
    row = score_row(task, model, objective=objective, protocol="ar-quick")
    return row | {"loss": bits * NATS, "accuracy": 40.0} | changes


def part_row(row: dict, by: str, first: int, last: int, bits: float, accuracy=40.0) -> dict:
    names = ("experiment", "task", "model", "mechanism", "seed", "objective")
    own = {"by": by, "first": first, "last": last, "tokens": 10, "predictions": 10}
    return {name: row[name] for name in names} | own | {"loss": bits * NATS, "accuracy": accuracy}


def floor(task, kind, bits, accuracy=None) -> dict:
    return baseline_row(task, kind, accuracy=accuracy, protocol="ar-quick") | {"bits": bits}


def written(root, rows, parts=(), floors=()):
    write_rows(root / "scores.parquet", rows, ScoreRow)
    write_rows(root / "parts.parquet", parts, PartRow)
    write_rows(root / "baselines.parquet", floors, BaselineRow)
    return root


ROWS = [
    token_row("linear", 3.5),
    token_row("rotary", 3.0),
    token_row("linear-masked", 4.0, "masked", mechanism="linear"),
    token_row("s4d", 0.0, status="oom", accuracy=None, loss=None),
]
FLOORS = [floor("bytes", "uniform", 8.0, 0.4), floor("bytes", "xz", 2.5)]


def test_bits_stand_by_objective_beside_the_floors_and_a_lost_cell_has_its_status(tmp_path):
    lines, text = table("language", written(tmp_path, ROWS, floors=FLOORS))
    found = {line["model"]: line for line in lines}
    assert float(found["linear"]["bits"]) == pytest.approx(3.5)
    assert (found["s4d"]["bits"], found["s4d"]["status"]) == ("", "oom")
    assert (found["xz"]["bits"], found["xz"]["accuracy"]) == ("2.5", "")
    body = [line for line in text.splitlines() if line.startswith("|")]
    order = [
        "next:",
        "linear",
        "rotary",
        "s4d",
        "masked:",
        "linear-masked",
        "without",
        "uniform",
        "xz",
    ]
    assert [next(w for w in order[::-1] if w in line.split("|")[1]) for line in body[2:]] == order
    assert "**3.000**" in text and "**4.000**" in text and "**3.500**" not in text
    assert body[5].split("|")[2].strip() == "oom" and "0.000" not in text
    first = "The first token of a window is predicted from nothing"
    assert first in text
    asks = written(tmp_path, [token_row("linear", 3.5, task="copy")])
    assert first not in table("language", asks)[1]


def test_seeds_have_a_mean_only_where_all_are_ok(tmp_path):
    rows = [token_row("linear", bits, seed=seed) for seed, bits in enumerate((3.0, 4.0))]
    rows += [token_row("rotary", 3.0), token_row("rotary", 0, seed=1, status="diverged", loss=None)]
    lines, text = table("language", written(tmp_path, rows))
    assert [line["bits"] for line in lines] == [str(3.5), ""]
    assert "3.500 ± 0.707" in text and "1/2 ok" in text


def config_of(root, task: str, model: str, rate: float) -> None:
    path = root / "cells" / task / model / "seed0/config.yaml"
    path.parent.mkdir(parents=True)
    cell = make_cell(task=task, training={"objective": "next", "learning_rate": rate})
    path.write_text(to_yaml(cell))


def recall_cells(root) -> list[dict]:
    rows, parts = [], []
    for model, rate, val, at, held in (
        ("linear@0.33", 0.001, 1.5, (82.0, 38.0), 512),
        ("linear", 0.003, 1.2, (60.0, 20.0), 512),
        ("linear@3.3", 0.01, 1.1, (80.0, 30.0), 512),
        ("rotary", 0.003, 0.1, (100.0, 98.0), 4096),
        ("hidden", 0.003, 0.9, (50.0, 30.0), None),
    ):
        own = {"mechanism": unswept(model)[0], "val_loss": val, "accuracy": sum(at) / 2}
        own |= {"state_bytes": held, "objective": "next" if held else "masked"}
        own |= {"exact_match": at[1] / 2 if held else None}
        rows.append(token_row(model, 1.0, task="recall", **own))
        parts += [
            part_row(rows[-1], "label", p, p, 1.0, a) for p, a in zip((4, 8), at, strict=True)
        ]
        config_of(root, "recall", model, rate)
    floors = [floor("recall", "a value of the context", 2.4, 18.2)]
    written(root, rows, parts, floors)
    return rows


def test_recall_is_of_the_rate_with_the_lowest_validation_loss_by_the_number_of_pairs(tmp_path):
    """Of linear the lowest rate is the best on the test set, and not chosen."""
    recall_cells(tmp_path)
    lines, text = table("recall", tmp_path)
    linear, rotary, hidden = lines
    assert (linear["model"], linear["rate"], linear["n_rates"]) == ("linear", "0.01", "3")
    assert (linear["accuracy"], linear["pairs_4"], linear["pairs_8"]) == ("55.0", "80.0", "30.0")
    assert (linear["exact_match"], hidden["exact_match"]) == ("15.0", "")
    assert (linear["lowest"], linear["highest"]) == ("40.0", "60.0")
    assert (rotary["model"], rotary["accuracy"], rotary["state_bytes"]) == (
        "rotary",
        "99.0",
        "4096",
    )
    assert (hidden["objective"], hidden["state_bytes"]) == ("masked", "")
    assert "0.001: 60.0, 0.003: 40.0, 0.01: 55.0" in text and "a value of the context" in text
    assert "4,096" in text and "No state: the model is not causal" in text
    assert "Some have one rate alone" in text and "At the edge of the sweep" in text


def upright(axes):
    """The lines of one x and two y; others lead to the names."""
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2]
    return [line for line in lines if len({*line.get_xdata()}) == 1]


def test_recall_stands_against_the_state_with_a_bar_from_the_worst_to_the_best_rate(tmp_path):
    recall_cells(tmp_path)
    (axes,) = figure("recall", tmp_path).axes
    marks = {line.get_xdata()[0]: line for line in axes.lines if len(line.get_xdata()) == 1}
    assert {x: line.get_ydata()[0] for x, line in marks.items()} == {512: 55, 4096: 99}
    bars = upright(axes)
    assert {bar.get_xdata()[0]: (*bar.get_ydata(),) for bar in bars} == {
        512: (40, 60),
        4096: (99, 99),
    }
    assert axes.get_xscale() == "log"
    assert {text.get_text() for text in axes.texts} == {"linear", "rotary"}
    text = words("recall", tmp_path)
    assert "Without a state, so not drawn: hidden 40.0 %." in text
    assert "Bar: from the worst rate's mean to the best one's" in text


def test_no_last_bit_of_the_layout_gets_into_a_figure(tmp_path):
    """They differ from process to process, and a clip's name in an SVG is made of all bits."""
    recall_cells(tmp_path)
    for name in ("recall", "bits"):
        for axes in figure(name, tmp_path).axes:
            place = axes.get_position().bounds
            assert [*place] == [round(share, 9) for share in map(float, place)]


def test_a_rate_that_is_not_ok_is_in_no_bar_and_a_lost_model_has_no_mark(tmp_path):
    rows = recall_cells(tmp_path)
    lost = {"status": "diverged", "accuracy": None, "loss": None}
    rows = [row | (lost if row["model"] in ("linear@0.33", "rotary") else {}) for row in rows]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    (axes,) = figure("recall", tmp_path).axes
    (bar,) = upright(axes)
    assert (*bar.get_ydata(),) == (40, 55)
    assert "Not ok in every seed: rotary on recall." in words("recall", tmp_path)
    _, text = table("recall", tmp_path)
    assert "0.001: diverged, 0.003: 40.0, 0.01: 55.0" in text


def test_of_a_sweep_the_chosen_model_alone_is_in_bits_and_language(tmp_path):
    rows = [
        token_row("linear", 3.5, val_loss=2.0),
        token_row("linear@4", 3.4, val_loss=2.1, val_accuracy=90.0),
    ]
    parts = [part_row(row, "position", 1, 1, 5.0 + n) for n, row in enumerate(rows)]
    lines, text = table("language", written(tmp_path, rows, parts))
    assert [(line["model"], line["bits"]) for line in lines] == [("linear", "3.5")]
    assert "Learning rate: of ×1, ×4 the model's own" in text
    (axes,) = figure("bits", tmp_path).axes
    (line,) = axes.lines
    assert list(line.get_ydata()) == pytest.approx([5.0])


def test_long_windows_have_a_column_and_a_panel_and_who_reads_none_a_reason(tmp_path):
    reason = "positions are learned, for 4 tokens"
    rows = [
        token_row("linear", 3.5, long_loss=4.0 * NATS),
        token_row("rotary", 3.0, long_loss=3.9 * NATS),
        token_row("transformer", 3.2, long_reason=reason),
    ]
    parts = [part_row(row, "position", 1, 4, 3.5) for row in rows]
    parts += [part_row(row, "position", 5, 64, 4.1) | {"times": 16} for row in rows[:2]]
    lines, text = table("language", written(tmp_path, rows, parts, FLOORS))
    found = {line["model"]: line["long_bits"] for line in lines}
    assert found["transformer"] == found["xz"] == ""
    assert float(found["linear"]) == pytest.approx(4.0)
    assert "16 times as long" in text and "**3.900**" in text and "**3.000**" in text
    assert f"Not read so long, as {reason}: transformer." in text
    body = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in text.splitlines()
            if line.startswith("|")}  # fmt: skip
    assert body["transformer"] == "-" and body["linear"].startswith("4.000")
    short, long = figure("bits", tmp_path).axes
    assert (short.get_title(), long.get_title()) == ("bytes, next", "bytes, next, 16 times as long")
    assert len(short.lines) == 4 and len(long.lines) == 4
    assert long.lines[-1].get_xdata()[0] == 4  # where the training ended
    assert list(long.lines[0].get_ydata()) == pytest.approx([4.1])
    assert f"Not read so long, as {reason}: transformer." in words("bits", tmp_path)


def test_tasks_that_ask_for_different_things_have_columns_of_their_own(tmp_path):
    labels = {"addition": (1, 0), "copy": (16, 8), "noisy_recall": (8, 2), "markov": (0,)}
    rows = [token_row("rotary", 1.0, task=task, val_accuracy=50.0) for task in labels]
    parts = [
        part_row(row, "label", first, first, 1.0, 90.0 - first)
        for row in rows
        for first in labels[row["task"]]
    ]
    for task in labels:
        config_of(tmp_path, task, "rotary", 0.003)
    lines, text = table(
        "recall", written(tmp_path, rows, parts, [floor("markov", "uniform", 4, 6)])
    )
    assert [line["task"] for line in lines] == ["addition", "copy", "noisy_recall"]
    columns = [key for key in lines[0] if key.rpartition("_")[2].isdigit()]
    assert columns == ["pairs_2", "pairs_8", "copied_8", "copied_16", "carries_0", "carries_1"]
    own = {line["task"]: {key: line[key] for key in columns if line[key]} for line in lines}
    assert own["addition"] == {"carries_0": "90.0", "carries_1": "89.0"}
    assert own["copy"] == {"copied_8": "82.0", "copied_16": "74.0"}
    heading = next(line for line in text.splitlines() if "rate" in line and line[0] == "|")
    assert "2 pairs" in heading and "8 copied" in heading and "0 carries" in heading
    assert "markov" not in text and "next, copy" in text


def test_of_many_amounts_a_task_has_its_least_and_its_most(tmp_path):
    labels = {"addition": range(6), "copy": (8, 16, 31)}
    rows = [token_row("rotary", 1.0, task=task, val_accuracy=50.0) for task in labels]
    rows.append(token_row("linear", 0.0, task="copy", status="oom", accuracy=None, loss=None))
    parts = [
        part_row(row, "label", first, first, 1.0, 90.0 - first)
        for row in rows[:2]
        for first in labels[row["task"]]
    ]
    for row in rows:
        config_of(tmp_path, row["task"], row["model"], 0.003)
    lines, text = table("recall", written(tmp_path, rows, parts))
    assert lines[0]["carries_3"] == "87.0"
    heading = next(line for line in text.splitlines() if "rate" in line and line[0] == "|")
    names = [cell.strip() for cell in heading.strip("|").split("|")]
    assert names[-2:] == ["least", "most"]
    assert "next, addition, 0 to 5 carries" in text and "next, copy, 8 to 31 copied" in text
    values = [line.split("|")[-3:-1] for line in text.splitlines() if line.startswith("| rotary")]
    assert [[v.strip() for v in each] for each in values] == [["90.0", "85.0"], ["82.0", "59.0"]]


def test_table_and_figure_of_right_answers_have_the_same_tasks_each_a_panel(tmp_path):
    tasks = ("copy", "recall", "markov")
    rows = [
        token_row("rotary", 1.0, task=task, state_bytes=64, val_accuracy=50.0) for task in tasks
    ]
    for task in tasks:
        config_of(tmp_path, task, "rotary", 0.003)
    lines, _ = table("recall", written(tmp_path, rows))
    own = {"model": "hidden", "objective": "masked", "state_bytes": None}
    write_rows(tmp_path / "scores.parquet", [*rows, *(row | own for row in rows)], ScoreRow)
    panels = figure("recall", tmp_path).axes
    assert "Without a state, so not drawn: hidden." in words("recall", tmp_path)
    assert [axes.get_title() for axes in panels] == [line["task"] for line in lines]
    assert len(panels) == 2


def test_every_task_of_tokens_but_texts_asks_for_something_that_is_named():
    assert OF_TOKENS - {"bytes", "markov"} == set(WHAT)


def test_bits_against_position_have_a_line_a_model_and_the_best_floor(tmp_path):
    parts = [
        part_row(row, "position", first, last, bits)
        for row in ROWS[:3]
        for first, last, bits in ((1, 1, 6.0), (2, 2, 5.0), (3, 4, 4.0))
    ]
    parts += [part_row(row, "label", 0, 0, 4.5) for row in ROWS[:3]]
    written(tmp_path, ROWS, parts, [*FLOORS, floor("copy", "uniform", 5.0)])
    drawing = figure("bits", tmp_path)
    one, other = drawing.axes
    assert [axes.get_title() for axes in drawing.axes] == ["bytes, next", "bytes, masked"]
    first, second, dashed = one.lines
    assert list(first.get_xdata()) == [1, 2, 4]
    assert list(first.get_ydata()) == pytest.approx([6, 5, 4])
    assert dashed.get_ydata()[0] == 2.5 and len(other.lines) == 2
    text = words("bits", tmp_path)
    assert "bytes xz 2.50 bits" in text and "Not ok in every seed: s4d on bytes." in text


def test_recall_has_no_positions_and_bytes_no_pairs(tmp_path):
    recall_cells(tmp_path)
    assert "No task has all of its tokens predicted." in words("bits", tmp_path)
    _, text = table("recall", written(tmp_path, ROWS, floors=FLOORS))
    assert "No task asks for some of its tokens alone." in text


def test_what_was_measured_is_collected_part_by_part(tmp_path):
    place = tmp_path / "cells/bytes/linear/seed1"
    made = {"fingerprint": "f", "device": "cpu", "torch_version": "2", "git_commit": None}
    name = {"experiment": "x", "protocol": "p", "task": "bytes", "model": "linear", "seed": 1}
    name |= {"mechanism": "linear", "dataset": "bytes-small"}
    part = Part(by="position", first=1, last=1, tokens=5, predictions=5, loss=1.5, accuracy=20.0)
    own = {"status": "ok", "reason": None}
    score = ScoreRecord(
        **name, **made, **own, accuracy=20.0, loss=1.5, n_test=5, chance=30.0, objective="masked",
        validation="held out", parts=[part],
    )  # fmt: skip
    write_record(place / "score.json", score)
    arguments = (tmp_path, tmp_path / "parts.parquet", ["bytes"], ["linear"], [1], [])
    collect("parts", *arguments)
    (row,) = read_table(tmp_path / "parts.parquet", PartRow).to_pylist()
    assert (row["objective"], row["first"], row["loss"]) == ("masked", 1, 1.5)
    broken = part.model_copy(update={"loss": float("nan")})
    write_record(place / "score.json", score.model_copy(update={"parts": [broken]}))
    with pytest.raises(LRAError, match="score.json: parts.0.loss: .*; delete the file"):
        collect("parts", *arguments)


def test_the_page_of_tokens_has_their_tables_and_speaks_of_no_accuracy_table(tmp_path):
    root = tmp_path / "demo"
    root.mkdir()
    recall_cells(root)
    write_rows(root / "speed.parquet", [], SpeedRow)
    write_rows(root / "memory.parquet", [], MemoryRow)
    tables, figures = ([item for item in items if item.name in ("language", "recall", "bits")]
                       for items in registry.shown(True))  # fmt: skip
    for folder in ("tables", "figures"):
        (root / folder).mkdir()
    for item in tables:
        write(item, root, root / "tables" / item.name, PAPER)
    for item in figures:
        files(item.name, root, root / "figures")
    page.write(root, tables, figures, ROOT / "workflow/report", root / "page.html")
    text = (root / "page.html").read_text()
    assert 'id="table-recall"' in text and "autoregressive arena" in text
    assert "table of accuracy" not in text and "above chance" not in text
    assert "No task has all of its tokens predicted." in text


def test_two_experiments_of_tokens_are_compared_without_their_predictions(tmp_path):
    written(tmp_path, ROWS[:1])
    place = tmp_path / "cells/bytes/linear/seed0/predictions.parquet"
    write_rows(place, [], PredictionRow)
    with opened(tmp_path) as found:
        assert found.answers(("bytes", "linear", 0)) is None
