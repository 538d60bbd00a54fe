"""Path-X, 16,384 tokens at the official sizes: it trains where memory allows, and is a status where
it does not, as estimated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lra.config.cell import Cell
from lra.config.resolve import Arena
from lra.planning.estimate import CACHE, Load, read_cache
from processes import limited, lra, train_arguments
from tiny import ROOT

ROOM = 2 * 2**30  # bytes beyond what the process needs to start


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """The official 128 x 128 images, sixteen of them."""
    out = tmp_path_factory.mktemp("pathx")
    official = Arena.read(ROOT / "config/paper.yaml").dataset("pathx").recipe()
    recipe = official.model_copy(update={"train": 8, "val": 4, "test": 4})
    done = lra("generate", "--dataset", recipe.model_dump_json(), "--out", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
@pytest.mark.parametrize(("model", "status"), [("linear", "ok"), ("synthesizer", "oom")])
def test_path_x_trains_or_is_a_status(images, tmp_path, model, status):
    """The Synthesizer's random matrix alone takes 2 heads x 16,384^2 x 4 bytes = 2.1 GB."""
    cell, _ = Arena.read(ROOT / "config/paper.yaml").resolve("pathx", model, 0)
    assert cell.encoder.max_len == 16_384
    params = read_cache(ROOT / CACHE)[Load.of_cell(cell).key].params
    assert (16 * params > ROOM) == (status == "oom")
    few = {"steps": 2, "batch_size": 2, "eval_batch_size": 2, "eval_every": 2}
    training = cell.training.model_copy(update=few)
    cell = Cell.model_validate({**cell.model_dump(), "training": training, "device": "cpu"})
    out = tmp_path / "out"
    done = limited(ROOM, *train_arguments(cell, images, out))
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "train.json").read_text())
    assert (record["status"], record["params"]) == (status, params)
    assert record["steps"] == (2 if status == "ok" else 0)
    done = lra("evaluate", "--cell", out, "--data", images, "--work", out / "work")
    assert done.returncode == 0, done.stderr
    score = json.loads((out / "score.json").read_text())
    assert score["status"] == status
    assert (score["accuracy"] is None) == (status == "oom")
