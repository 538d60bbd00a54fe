"""A pretraining is a job of its own, which only what it depends on makes run again."""

from __future__ import annotations

import json

import pytest
import yaml

from checkout import EXPERIMENT, Checkout

FIRST, THEN = (
    "pretrain listops/pre/seed1",
    {"train listops/pre/seed1", "evaluate listops/pre/seed1"},
)
OWN = "pretraining: {objective: masked, steps: 10, eval_every: 5}"


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Checkout:
    """A checkout in which a model was trained with a pretraining and one without."""
    checkout = Checkout(tmp_path_factory.mktemp("pretrained"))
    parts = {"tasks": ["listops"], "models": ["linear", "pre"], "seeds": [1]}
    text = yaml.safe_dump({**EXPERIMENT, **parts})
    checkout.write("config/tiny.yaml", f"{text}variants:\n  pre:\n    model: linear\n    {OWN}\n")
    planned = checkout.run("-n", "cells")
    assert "cells      2" in planned
    assert "pretrained 1 first, 10 steps" in planned
    checkout.run("cells")
    return checkout


def plan(checkout) -> set[str]:
    return checkout.plan("cells")


def test_its_files_and_that_nothing_is_left_to_do(done):
    root = done.folder / "results/tiny"
    folder = root / "pretrained/listops/pre/seed1"
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "checkpoint.safetensors", "history.parquet", "pretrain.json",
    }  # fmt: skip
    record = json.loads((root / "cells/listops/pre/seed1/train.json").read_text())
    assert (record["status"], record["steps"], bool(record["pretrained"])) == ("ok", 20, True)
    assert not (root / "pretrained/listops/linear").exists()
    assert not list((root / "work").rglob("seed1*"))
    assert plan(done) == set()


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        (OWN, f"{OWN}\n    training: {{steps: 22}}", THEN),
        (OWN, f"{OWN}\n    encoder: {{head_layers: 1}}", THEN),
        (OWN, OWN.replace("steps: 10", "steps: 15"), {FIRST, *THEN}),
        (OWN, OWN.replace("masked", "causal"), {FIRST, *THEN}),
        (OWN, f"{OWN}\n    encoder: {{layers: 2}}", {FIRST, *THEN}),
    ],
    ids=["training", "head", "steps", "objective", "encoder"],
)
def test_what_a_changed_key_runs_again(done, old, new, runs):
    before = (done.folder / "config/tiny.yaml").read_text()
    done.edit("config/tiny.yaml", old, new)
    try:
        assert plan(done) == runs
    finally:
        done.write("config/tiny.yaml", before)


@pytest.mark.parametrize(
    ("file", "old", "new", "runs"),
    [
        ("training/pretraining.py", "VALIDATION = 0", "VALIDATION = 1", {FIRST, *THEN}),
        ("models/token_model.py", "torch.randn", "2 * torch.randn", {FIRST, *THEN}),
    ],
    ids=["objective", "model"],
)
def test_what_edited_code_runs_again(done, file, old, new, runs):
    name = f"src/lra/{file}"
    before = (done.folder / name).read_text()
    done.edit(name, old, new)
    try:
        assert plan(done) == runs
    finally:
        done.write(name, before)
