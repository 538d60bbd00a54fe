"""Recall: each query's answer by an evaluator of its own; the same bytes for any workers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lra.core.errors import LRAError
from lra.data import recall
from lra.data.generate import generate_dataset
from lra.data.split import read_split

SMALL = {"max_length": 32, "vocab_size": 64, "pairs": [2, 4]}


def answered(tokens: list[int], marks: list[int], pairs: int) -> None:
    """Reads an example as a person would: one token after the other, with a dictionary."""
    memory = {}
    for place in range(0, 2 * pairs, 2):
        key, value = tokens[place : place + 2]
        assert 0 < key < 32 <= value < 64
        assert key not in memory and value not in memory.values()
        memory[key] = value
    asked = []
    for place in range(len(tokens)):
        if marks[place]:
            assert place >= 2 * pairs + 1
            assert memory[tokens[place - 1]] == tokens[place]
            asked.append(tokens[place - 1])
    assert sorted(asked) == sorted(memory)


def test_every_marked_token_is_the_value_of_the_key_before_it():
    table = recall.generate(2000, seed=5, **SMALL)
    rows = zip(*(table[name].to_pylist() for name in ("tokens", "counted", "label")), strict=True)
    for tokens, marks, pairs in rows:
        answered(tokens, marks, pairs)
    counts = np.bincount(table["label"].to_numpy())
    assert set(np.flatnonzero(counts)) == {2, 4} and counts[2] == pytest.approx(1000, abs=150)


def test_queries_come_soon_after_the_pairs_as_their_power_law_says():
    """One pair: the place is drawn with weights 1, 2^-0.99, 3^-0.99, ..."""
    table = recall.chunk(recall.Config(max_length=18, vocab_size=64, pairs=[1]), 3, 0)
    marks = np.array(table["counted"].to_pylist())
    found = marks[:, 3::2].mean(0)
    weights = np.arange(1, 9) ** -0.99
    assert np.abs(found - weights / weights.sum()).max() < 0.05


@pytest.mark.slow
def test_the_bytes_depend_on_seed_and_size_alone_and_a_large_vocabulary_has_16_bits(tmp_path):
    config = {**SMALL, "vocab_size": 1024}
    sizes = {"train": 1500, "val": 100, "test": 100}
    for workers in (1, 2):
        generate_dataset("recall", config, sizes, 7, tmp_path / str(workers), workers)
    for split in ("train", "val", "test"):
        one, two = (tmp_path / w / f"{split}.arrow" for w in ("1", "2"))
        assert one.read_bytes() == two.read_bytes()
    found = read_split(tmp_path / "1/train.arrow")
    assert found.towers[0].values.dtype == np.uint16 and found.towers[0].values.max() > 512
    assert len(found.counted.values) == len(found.towers[0].values) == 1500 * 32
    assert found.counted.values.sum() == found.labels.sum()
    with pa.ipc.open_file(tmp_path / "1/val.arrow") as file:
        first = file.read_all()["tokens"].to_pylist()[0]
    other = recall.generate(1, seed=8, **config)["tokens"].to_pylist()[0]
    assert first != other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pairs": [16]}, "pairs 16: need 64 tokens with their queries, and max_length is 32"),
        ({"vocab_size": 8}, "pairs 4: there are 3 keys"),
    ],
)
def test_an_impossible_example_is_one_line(tmp_path, options, said):
    with pytest.raises(LRAError, match=said):
        generate_dataset(
            "recall", {**SMALL, **options}, {"train": 1, "val": 1, "test": 1}, 0, tmp_path
        )
