"""What all generators of tokens have in common: sizes, marks, and chunks that are pure functions."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import yaml

from lra.core.errors import LRAError
from lra.core.schema import checked
from lra.data.generate import generate_dataset
from lra.data.recipe import Dataset
from lra.data.sources import GENERATORS, OF_TOKENS, check_source
from lra.data.split import read_split
from tiny import ROOT

FILE = yaml.safe_load((ROOT / "config/datasets.yaml").read_text())
ALL = {name: Dataset(**entry) for name, entry in FILE.items()}
OWN = {n: d for n, d in ALL.items() if d.task in OF_TOKENS and d.source in GENERATORS}
SMALL = [name for name in OWN if name.endswith("-small")]


def module_of(name: str):
    dataset = OWN[name]
    module = import_module(f"lra.data.{dataset.source}")
    return module, checked(module.Config, dataset.options, name)


def arrays(name: str, seed: int, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens and marks (B, N), labels (B,) of a chunk."""
    module, config = module_of(name)
    table = module.chunk(config, seed, index)
    tokens = np.array(table["tokens"].to_pylist())
    marks = np.array(table["counted"].to_pylist()) if "counted" in table.column_names else None
    return tokens, marks, table["label"].to_numpy()


@pytest.mark.parametrize("name", OWN)
def test_a_data_set_is_of_its_task_and_of_the_sizes_that_are_written(name):
    module, config = module_of(name)
    info, dataset = module.info(config), OWN[name]
    task = yaml.safe_load((ROOT / f"config/tasks/{dataset.task}.yaml").read_text())["encoder"]
    assert (info.task, info.max_length) == (dataset.task, dataset.max_len)
    assert info.vocab_size == (dataset.vocab_size or task["vocab_size"])
    assert info.classes == (dataset.classes or task["classes"])
    assert info.generator["name"] == dataset.source and info.generator["version"] == module.VERSION


@pytest.mark.parametrize("name", SMALL)
def test_a_chunk_is_a_function_of_seed_and_index_and_its_tokens_are_of_the_vocabulary(name):
    module, config = module_of(name)
    tokens, marks, labels = arrays(name, 3, 1)
    for other, same in ((arrays(name, 3, 1), True), (arrays(name, 3, 2), False)):
        assert (other[0].shape == tokens.shape and bool((other[0] == tokens).all())) is same
    assert (arrays(name, 4, 1)[0][:20] != tokens[:20]).any()
    assert tokens.shape[1] == OWN[name].max_len and tokens.max() < module.info(config).vocab_size
    if marks is None:
        assert not labels.any()
    else:
        assert marks.shape == tokens.shape and (marks.sum(1) > 0).all() and marks.max() == 1
        assert (labels >= 0).all() and len(set(labels)) > 1


@pytest.mark.parametrize("name", SMALL)
def test_no_example_is_in_two_splits(name, tmp_path):
    dataset = OWN[name]
    sizes = {"train": 300, "val": 100, "test": 100}
    generate_dataset(dataset.source, dataset.options, sizes, 0, tmp_path)
    rows = [row.tobytes() for split in sizes
            for row in read_split(tmp_path / f"{split}.arrow").towers[0].values.reshape(
                -1, dataset.max_len)]  # fmt: skip
    assert len(set(rows)) == len(rows) == 500


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("copying", {"copied": [32]}, "copied 32: from 1 to 31 symbols have room twice in max_length 64"),
        ("copying", {"copied": []}, "copied: List should have at least 1 item"),
        ("selective_copying", {"copied": [128]}, "copied 128: from 1 to 127 symbols have room twice"),
        ("noisy_recall", {"pairs": [9]}, "pairs 9: there are 8 keys"),
        ("noisy_recall", {"noise_vocab_size": 31}, "noise_vocab_size 31: leaves no keys and values"),
        ("fuzzy_recall", {"pairs": [21]}, "pairs 21: from 1 to 20, because only 21 of the longest have room"),
        ("fuzzy_recall", {"vocab_size": 5}, "longest 3: there are 2 tokens of keys"),
        ("fuzzy_recall", {"longest": 1, "pairs": [8]}, "pairs 8: there are not as many different keys"),
        ("needle", {"max_length": 10}, "max_length: Input should be a multiple of 4"),
        ("markov", {"moves": 9}, "moves 9: there are 8"),
        ("markov", {"writes": 17}, "writes 17: there are 16"),
        ("addition", {"digits": 19}, "digits: Input should be less than or equal to 18"),
        ("sudoku", {"blanks": [36]}, "blanks 36: from 1 to 35"),
        ("sudoku", {"blanks": [34]}, "options.blanks: fewer than 1 in 10 puzzles of 6 x 6 have one"),
    ],
)  # fmt: skip
def test_an_impossible_task_is_one_line(tmp_path, source, options, said):
    with pytest.raises(LRAError, match=said) as error:
        generate_dataset(source, options, {"train": 1, "val": 1, "test": 1}, 0, tmp_path)
    assert "\n" not in str(error.value)


def test_a_sum_the_other_way_round_is_another_task():
    turned = OWN["addition-small"].model_copy(update={"options": {"digits": 3, "reversed": True}})
    with pytest.raises(
        LRAError, match="options: make examples of 'addition_reversed', and task is"
    ):
        check_source("addition-small", turned)


def test_a_data_set_shorter_than_its_examples_is_refused():
    short = OWN["addition-small"].model_copy(update={"max_len": 11})
    with pytest.raises(LRAError, match="max_len: 11 tokens, but by options .* up to 12"):
        check_source("addition-small", short)
