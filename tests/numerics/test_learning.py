"""Every mechanism learns: a small ListOps run ends well above the majority class."""

from __future__ import annotations

import numpy as np
import pytest

from lra import attention
from lra.data.generate import generate_dataset
from lra.data.split import read_split
from lra.training.checkpoint import Work
from lra.training.loop import train
from tiny import SMALL_LISTOPS, make_cell

OPTIONS = {  # of lengths that suit sequences of at most 64 tokens
    "local": {"block_size": 16},
    "sparse": {"stride": 8, "summary": 2},
    "longformer": {"window": 16},
    "image": {"block_size": 16, "halo": 8},
    "bigbird": {"block_size": 4, "random_blocks": 2},
    "reformer": {"bucket_size": 8, "hashes": 2},
    "routing": {"clusters": 4},
    "sinkhorn": {"block_size": 8},
    "nystrom": {"landmarks": 16},
    "performer": {"features": 64},
    "set": {"inducing": 16},
    "xl": {"segment": 16},
    "compressive": {"segment": 16},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "listops"
    generate_dataset("listops", SMALL_LISTOPS, {"train": 4000, "val": 500, "test": 10}, 0, folder)
    return folder


@pytest.mark.parametrize("name", attention.names())
def test_listops_is_learned(data, tmp_path, name):
    """120 steps, about 2 s of one core; 40 to 47 % in runs of two seeds, majority 13 %."""
    cell = make_cell(
        model=name,
        encoder={"attention": name, "options": OPTIONS.get(name, {}), "dim": 64, "qkv_dim": 64,
                 "heads": 4, "mlp_dim": 128, "dropout": 0.0, "attention_dropout": 0.0},
        training={"steps": 120, "batch_size": 32, "eval_every": 60, "learning_rate": 3e-3,
                  "warmup": 20},
    )  # fmt: skip
    outcome = train(cell, data, Work(tmp_path, "key", print), print)
    labels = read_split(data / "val.arrow").labels
    majority = 100 * np.bincount(labels).max() / len(labels)
    losses = [row["loss"] for row in outcome.history if row["split"] == "train"]
    print(f"{name}: {outcome.val_accuracy:.1f} % against {majority:.1f} %")
    assert outcome.val_accuracy > majority + 15
    assert losses[-1] < 0.8 * losses[0]
