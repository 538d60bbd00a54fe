"""The tables `language` and `recall` and the figure `bits`: what counts, beside which floors."""

from __future__ import annotations

import math

import pytest
from drawn import figure, files, words
from fabricated import PAPER, baseline_row, score_row, table

from lra.compare.experiment import opened
from lra.config.cell import to_yaml
from lra.core.errors import LRAError
from lra.report import page, registry
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


def test_seeds_have_a_mean_only_where_all_are_ok(tmp_path):
    rows = [token_row("linear", bits, seed=seed) for seed, bits in enumerate((3.0, 4.0))]
    rows += [token_row("rotary", 3.0), token_row("rotary", 0, seed=1, status="diverged", loss=None)]
    lines, text = table("language", written(tmp_path, rows))
    assert [line["bits"] for line in lines] == [str(3.5), ""]
    assert "3.500 ± 0.707" in text and "1/2 ok" in text


def recall_cells(root) -> list[dict]:
    rows, parts = [], []
    for model, rate, val, at in (
        ("linear", 0.003, 50.0, (60.0, 20.0)),
        ("linear-fast", 0.01, 70.0, (80.0, 30.0)),
        ("rotary", 0.003, 99.0, (100.0, 98.0)),
    ):
        own = {"mechanism": model.split("-")[0], "val_accuracy": val, "accuracy": sum(at) / 2}
        rows.append(token_row(model, 1.0, task="recall", **own))
        parts += [
            part_row(rows[-1], "label", p, p, 1.0, a) for p, a in zip((4, 8), at, strict=True)
        ]
        path = root / "cells/recall" / model / "seed0/config.yaml"
        path.parent.mkdir(parents=True)
        cell = make_cell(task="recall", training={"objective": "next", "learning_rate": rate})
        path.write_text(to_yaml(cell))
    floors = [floor("recall", "a value of the context", 2.4, 18.2)]
    written(root, rows, parts, floors)
    return rows


def test_recall_is_of_the_rate_with_the_best_validation_by_the_number_of_pairs(tmp_path):
    recall_cells(tmp_path)
    lines, text = table("recall", tmp_path)
    linear, rotary = lines
    assert (linear["model"], linear["rate"], linear["n_rates"]) == ("linear-fast", "0.01", "2")
    assert (linear["pairs_4"], linear["pairs_8"]) == ("80.0", "30.0")
    assert (rotary["model"], rotary["accuracy"]) == ("rotary", "99.0")
    assert "0.003: 40.0, 0.01: 55.0" in text and "a value of the context" in text
    assert "Some have one rate alone" in text


def test_bits_against_position_have_a_line_a_model_and_the_best_floor(tmp_path):
    parts = [
        part_row(row, "position", first, last, bits)
        for row in ROWS[:3]
        for first, last, bits in ((1, 1, 6.0), (2, 2, 5.0), (3, 4, 4.0))
    ]
    parts += [part_row(row, "label", 0, 0, 4.5) for row in ROWS[:3]]
    written(tmp_path, ROWS, parts, FLOORS)
    drawing = figure("bits", tmp_path)
    one, other = drawing.axes
    assert [axes.get_title() for axes in drawing.axes] == ["bytes, next", "bytes, masked"]
    first, second, dashed = one.lines
    assert list(first.get_xdata()) == [1, 2, 4]
    assert list(first.get_ydata()) == pytest.approx([6, 5, 4])
    assert dashed.get_ydata()[0] == 2.5 and len(other.lines) == 2
    text = words("bits", tmp_path)
    assert "bytes xz 2.50" in text and "Not ok in every seed: s4d on bytes." in text


def test_recall_has_no_positions_and_bytes_no_pairs(tmp_path):
    recall_cells(tmp_path)
    assert "No task has all of its tokens predicted." in words("bits", tmp_path)
    _, text = table("recall", written(tmp_path, ROWS, floors=FLOORS))
    assert "No task asks for recall." in text


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
