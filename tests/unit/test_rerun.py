"""A cell trained again: the same bits on the same hardware, intervals that meet on other."""

from __future__ import annotations

import pytest
from test_collect import write_cell

from lra.archive.verify import _compared
from lra.core.files import sha256
from lra.results.records import PredictionRow, write_rows

CELL = "cells/text/linear/seed0"
OTHER = {"device": "cpu: another"}


def cell(root, weights=b"weights", prediction=1, train=None, score=None):
    folder = write_cell(root, train=train, score=(train or {}) | (score or {}))
    (folder / "checkpoint.safetensors").write_bytes(weights)
    rows = [{"label": 1, "prediction": prediction}]
    write_rows(folder / "predictions.parquet", rows, PredictionRow)
    return folder


def compared(tmp_path, old=None, new=None, omitted=True):
    was, now = cell(tmp_path / "was", **(old or {})), cell(tmp_path / "now", **(new or {}))
    weights = was / "checkpoint.safetensors"
    left_out = {f"{CELL}/checkpoint.safetensors": sha256(weights)}
    return _compared(was, now, CELL, left_out if omitted else {})


def test_the_same_bits_on_the_same_hardware(tmp_path):
    assert compared(tmp_path) == ([], "the same bits on cpu: demo")


@pytest.mark.parametrize("omitted", [True, False], ids=["checkpoint left out", "archived"])
@pytest.mark.parametrize(
    "new, file",
    [
        ({"weights": b"wEights"}, "checkpoint.safetensors"),
        ({"prediction": 0}, "predictions.parquet"),
        ({"score": {"loss": 0.71}}, "score.json"),
    ],
    ids=["weights", "predictions", "score"],
)
def test_other_bits_on_the_same_hardware_are_named(tmp_path, new, file, omitted):
    (line,), _ = compared(tmp_path, new=new, omitted=omitted)
    assert line.startswith(f"{CELL}/{file}: trained again")


@pytest.mark.parametrize("changed", [OTHER, {"torch_version": "3"}], ids=["device", "torch"])
def test_on_other_hardware_the_intervals_count(tmp_path, changed):
    """Wilson's of 60 of 100 is 50.2 to 69.1; that of 77 of 100 67.9 to 84.2, of 80 of 100 from 71.1."""
    new = {"weights": b"wEights", "train": changed, "score": {"accuracy": 77.0}}
    lines, how = compared(tmp_path / "near", new=new)
    assert lines == [] and how == "77.00 % on other hardware, within the 95 % interval"
    (line,), _ = compared(tmp_path / "far", new=new | {"score": {"accuracy": 80.0}})
    assert line.startswith(f"{CELL}/score.json: 60.00 %, trained again on ")
    assert "the 95 % intervals do not meet" in line


def test_one_that_no_longer_ends_is_a_finding(tmp_path):
    lost = {"status": "oom", "reason": "no memory", "val_accuracy": None, "chosen_step": None}
    unscored = {"status": "oom", "reason": "no memory", "accuracy": None, "loss": None}
    now = write_cell(tmp_path / "now", train=lost | OTHER, score=unscored | OTHER)
    lines, _ = _compared(cell(tmp_path / "was"), now, CELL, {})
    assert lines == [f"{CELL}: trained again, it ended as oom (no memory)"]
