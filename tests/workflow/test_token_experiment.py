"""An experiment of tokens runs from data to archive, and has its own tables and figures alone."""

from __future__ import annotations

import json

import pytest
import yaml

from checkout import EXPERIMENT, PROTOCOL, Checkout, commit_all
from lra.archive.verify import verify
from lra.report import registry

RECALL = {
    "recall-tiny": {
        "task": "recall", "source": "recall", "max_len": 16, "vocab_size": 16, "classes": 16,
        "options": {"max_length": 16, "vocab_size": 16, "pairs": [1, 2]}, "train": 200, "val": 20,
        "test": 40, "licence": "test", "citation": "test",
    }
}  # fmt: skip
OWN = {
    "tasks": ["recall"], "models": ["linear", "hidden"], "seeds": [1],
    "variants": {"hidden": {"model": "linear", "training": {"objective": "masked", "draws": 2}}},
}  # fmt: skip


@pytest.mark.slow
def test_it_runs_to_its_archive_and_only_its_own_code_runs_it_again(tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    protocol = {**PROTOCOL, "tasks": {"recall": {"dataset": "recall-tiny"}}}
    datasets = yaml.safe_load((checkout.folder / "config/datasets.yaml").read_text())
    checkout.write("config/datasets.yaml", yaml.safe_dump({**datasets, **RECALL}))
    checkout.write("config/protocols/tiny.yaml", yaml.safe_dump(protocol))
    profile = {**EXPERIMENT["profile"], "task": "recall", "lengths": [16]}
    text = yaml.safe_dump({**EXPERIMENT, **OWN, "profile": profile})
    checkout.write("config/tiny.yaml", text)
    commit_all(checkout.folder)
    checkout.run("archive")
    root = checkout.folder / "results/tiny"
    tables, figures = registry.shown(tokens=True)
    assert {path.stem for path in (root / "tables").iterdir()} == {item.name for item in tables}
    assert {path.stem for path in (root / "figures").iterdir()} == {item.name for item in figures}
    assert not (root / "span.parquet").exists()
    for model, objective in (("linear", "next"), ("hidden", "masked")):
        score = json.loads((root / f"cells/recall/{model}/seed1/score.json").read_text())
        assert (score["status"], score["objective"]) == ("ok", objective)
    assert verify(root / "archive/tiny.zip", 1, 2, print) == []
    checkout.edit("src/lra/training/tokens.py", "SEED = 0", "SEED = 1")
    trained = {job for job in checkout.plan("cells") if job.startswith("train")}
    assert trained == {"train recall/linear/seed1", "train recall/hidden/seed1"}
