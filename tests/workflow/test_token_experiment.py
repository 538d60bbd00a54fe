"""An experiment of tokens runs from data to archive, and has its own tables and figures alone."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest
import yaml

from checkout import EXPERIMENT, PROTOCOL, Checkout, commit_all
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
    "generate": {"examples": 30, "steps": [1, 2], "blocks": [1], "batch_size": 8},
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
    rows = pq.read_table(root / "generate.parquet").to_pylist()
    found = [(r["model"], r["sampler"], r["block"], r["steps"]) for r in rows]
    assert found == [
        ("linear", "autoregressive", None, None),
        *(("hidden", sampler, None, steps) for sampler in ("random", "confidence") for steps in (1, 2)),
        ("hidden", "blocks", 1, 1),
    ]  # fmt: skip
    assert all(r["status"] == "ok" and 0 <= r["solved"] <= r["right"] <= 100 for r in rows)
    done = checkout.lra("verify", "results/tiny/archive/tiny.zip", "--rerun", 1)
    assert done.returncode == 0, done.stdout
    checkout.edit("src/lra/evaluation/samplers.py", "SEED = 0", "SEED = 1")
    again = {f"generate recall/{model}/seed1" for model in ("linear", "hidden")}
    after = {"collect generate", "table order", "figure solve_rate", "page"}
    assert checkout.plan() == again | after
    checkout.edit("src/lra/training/tokens.py", "SEED = 0", "SEED = 1")
    trained = {job for job in checkout.plan("cells") if job.startswith("train")}
    assert trained == {"train recall/linear/seed1", "train recall/hidden/seed1"}


def test_a_plan_generates_where_the_experiment_says_so(checkout):
    arguments = (
        "-n",
        "--configfile",
        "config/ar-recall.yaml",
        "--config",
        "models=[linear]",
        "rates=[1]",
    )
    plain = checkout.snakemake(*arguments)
    asked = checkout.snakemake(*arguments, "generate={examples: 8}")
    assert plain.returncode == asked.returncode == 0, plain.stdout + asked.stdout
    assert ": generate recall/" not in plain.stdout
    assert re.findall(r"^Job \d+: (generate .+/.+)$", asked.stdout, re.M) == [
        "generate recall/linear/seed1"
    ]
