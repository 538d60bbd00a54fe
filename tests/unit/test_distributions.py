"""Two data sets side by side: `lra distributions`."""

from __future__ import annotations

import numpy as np
import pytest

from lra.core.errors import LRAError
from lra.data import listops, pathfinder
from lra.data.distributions import compared, facts
from lra.data.split import Info, grid_table, read_split, table_of, write_split


def test_facts_of_expressions_are_counted_by_hand(tmp_path):
    words = {word: i for i, word in enumerate(listops.VOCAB)}
    tokens = [words[w] for w in ["[MAX", "1", "2", "X", "[SM", "3", "X"]]
    table = table_of(np.array(tokens, np.uint8), np.array([0, 4, 7]), np.array([2, 3]))
    info = listops.info(listops.Config())
    write_split(tmp_path / "train.arrow", [table], info)
    found = facts(read_split(tmp_path / "train.arrow"))
    assert found["examples"] == "2"
    assert (found["label 2, %"], found["label 4, %"]) == ("50.00", "0.00")
    assert (found["length, 0 % quantile"], found["length, mean"]) == ("3", "3.5")
    assert found["token X, %"] == f"{200 / 7:.3f}"
    assert found["token [MED, %"] == "0.000"


def test_facts_of_images_are_by_label(tmp_path):
    pixels = np.array([[0, 0, 0, 200], [100, 100, 0, 0], [0, 0, 0, 0]], np.uint8)
    table = grid_table(pixels, np.array([1, 0, 0]))
    write_split(tmp_path / "train.arrow", [table], Info("pathfinder", 256, 2, 4, False))
    found = facts(read_split(tmp_path / "train.arrow"))
    assert found["label 0: pixels above 0, %"] == "25.000"
    assert found["label 1: mean value"] == "50.000"
    assert found["label 0: commonest values (%)"].startswith("0 (75.0), 100 (25.0)")


def test_columns_are_data_sets_and_tasks_do_not_mix(tmp_path):
    one = listops.generate(50, seed=1, min_length=4, max_length=60)
    for name, seed in (("a", 1), ("b", 2)):
        table = listops.generate(50, seed=seed, min_length=4, max_length=60)
        write_split(tmp_path / name / "train.arrow", [table], listops.info(listops.Config()))
    image = pathfinder.generate(4, 16, 0)
    write_split(tmp_path / "c/train.arrow", [image], pathfinder.info(pathfinder.Config(size=16)))
    text = compared([tmp_path / "a/train.arrow", tmp_path / "b/train.arrow"])
    header, _, examples, *_ = text.splitlines()
    assert header.split() == ["a/train", "b/train"]
    assert examples.split() == ["examples", "50", "50"]
    assert len(one) == 50
    with pytest.raises(LRAError, match="c/train.arrow: is of another task: listops, pathfinder"):
        compared([tmp_path / "a/train.arrow", tmp_path / "c/train.arrow"])
