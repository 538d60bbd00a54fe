"""The real protocols run to their end on tiny data, with every optional list empty; under one of them
every rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import archives
from checkout import DATASETS, EXPERIMENT, Checkout, commit_all
from lra.config.resolve import Arena
from lra.core.files import sha256

TINY = {
    "steps": 2, "eval_every": 2, "warmup": 1, "batch_size": 2, "eval_batch_size": 20, "cycle": None,
}  # fmt: skip
TASKS = {
    "official": ["listops", "pathfinder", "text"], "paper": ["listops", "text-1k", "text-2k"],
    "standard": ["listops", "pathfinder", "text"], "authors": ["listops", "pathfinder", "text"],
}  # fmt: skip
MODELS = {"authors": "s5"}  # else linear
# `span` lists none of the models, the experiment `tiny` runs it; test_pretrained.py,
# test_token_experiment.py and test_decode_section.py run the others
ELSEWHERE = {"measure_span", "pretrain", "generate_tokens", "profile_decode"}
TARGETS = {
    "all",
    "data",
    "cells",
    "checkpoints",
    "tables",
    "figures",
    "span",
    "generation",
    "decoding",
    "baselines",
    "report",
}


def tiny_entries(checkout: Checkout, names: list[str]) -> dict:
    """Tiny data sets by the protocol's own names; that of text is read from a download."""
    archive = archives.tar(checkout.folder / "mirror/imdb.tar.gz", archives.imdb(20))
    imdb = {
        "task": "text", "source": "imdb", "max_len": 100, "options": {"max_length": 99},
        "train": 30, "val": 10, "test": 40, "licence": "test", "citation": "test",
        "archive": {"file": archive.name, "urls": ["https://nowhere.invalid/imdb.tar.gz"],
                    "sha256": sha256(archive)},
    }  # fmt: skip
    known = {"text": imdb}
    for task in ("listops", "pathfinder"):
        known[task] = DATASETS[f"{task}-tiny"] | {"train": 20, "val": 10, "test": 20}
    return {name: known[name.split("-")[0]] for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", TASKS)
def test_it_runs_without_variants_of_our_own_and_without_spans(protocol, tmp_path):
    """The data sets have the protocol's own names, and `span` lists none of the models. The protocol
    quick is that of the experiment `tiny`."""
    every_rule, model = protocol == "standard", MODELS.get(protocol, "linear")
    checkout = Checkout(tmp_path / "checkout")
    experiment = {
        **EXPERIMENT, "protocol": protocol, "tasks": TASKS[protocol], "models": [model],
        "seeds": [1], "span": {"models": ["transformer"]}, "overrides": {"training": TINY},
        "profile": {**EXPERIMENT["profile"], "lengths": [32]}, "data_mirror": "mirror",
    }  # fmt: skip
    checkout.write("config/tiny.yaml", yaml.safe_dump(experiment))
    names = Arena.read(checkout.folder / "config/tiny.yaml").datasets()
    known = yaml.safe_load((checkout.folder / "config/datasets.yaml").read_text())
    tiny = known | tiny_entries(checkout, names)
    checkout.write("config/datasets.yaml", yaml.safe_dump(tiny))
    commit_all(checkout.folder)
    results = Path("results/tiny")
    some = ["cells", str(results / "tables/accuracy.md"), str(results / "speed.parquet")]
    log = checkout.run(*["all", "report", "archive"] if every_rule else some)
    tables = checkout.folder / results / "tables"
    assert model in (tables / "accuracy.md").read_text()
    if not every_rule:
        return
    assert "Nothing was measured" in (tables / "span.md").read_text()
    ran = set(re.findall(r"^(\w+) +\d+$", log, re.MULTILINE))  # snakemake's own table of jobs
    rules = (checkout.folder / "workflow/rules").glob("*.smk")
    there_are = {
        name for file in rules for name in re.findall(r"^rule (\w+):", file.read_text(), re.M)
    }
    assert there_are - TARGETS - ELSEWHERE <= ran
