"""Every rule runs to its end under the real protocols, on tiny data, with every optional list empty."""

from __future__ import annotations

import pytest
import yaml

from checkout import DATASETS, EXPERIMENT, Checkout

TINY = {
    "steps": 2, "eval_every": 2, "warmup": 1, "batch_size": 2, "eval_batch_size": 20, "cycle": None,
}  # fmt: skip


@pytest.mark.parametrize("protocol", ["official", pytest.param("standard", marks=pytest.mark.slow)])
def test_every_rule_runs_without_variants_of_our_own_and_without_spans(protocol, tmp_path):
    """The data sets have the protocol's own names, and `span` lists none of the models."""
    checkout = Checkout(tmp_path / "checkout")
    known = yaml.safe_load((checkout.folder / "config/datasets.yaml").read_text())
    for task in ("listops", "pathfinder"):
        tiny = {"train": 20, "val": 10, "test": 20, "max_len": DATASETS[f"{task}-tiny"]["max_len"]}
        known[task] = {**DATASETS[f"{task}-tiny"], **tiny}
    checkout.write("config/datasets.yaml", yaml.safe_dump(known))
    experiment = {
        **EXPERIMENT, "protocol": protocol, "models": ["linear"], "seeds": [1],
        "span": {"models": ["transformer"]}, "overrides": {"training": TINY},
        "profile": {**EXPERIMENT["profile"], "lengths": [32]},
    }  # fmt: skip
    checkout.write("config/tiny.yaml", yaml.safe_dump(experiment))
    checkout.run()
    tables = checkout.folder / "results/tiny/tables"
    assert "linear" in (tables / "accuracy.md").read_text()
    assert "Nothing was measured" in (tables / "span.md").read_text()
