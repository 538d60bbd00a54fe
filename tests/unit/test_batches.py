"""Batches hold what they should, and the order of training is a function of seed and step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lra.core.errors import LRAError
from lra.data.split import Info, Sequences, Split, read_split, table_of, write_split
from lra.evaluation.accuracy import attended_tokens
from lra.training.batches import Batches, training_order
from tiny import make_cell

CPU = torch.device("cpu")


def split_of(lengths, pads=True, dtype=np.uint8, towers=1):
    random = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = random.integers(1, 17, offsets[-1]).astype(dtype)
    info = Info("listops", vocab_size=17, classes=10, max_length=64, pads=pads)
    sequences = tuple(Sequences(values, offsets) for _ in range(towers))
    return Split(sequences, np.arange(len(lengths)) % 10, info)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_batch_is_padded_to_its_longest_member_rounded_up(dtype):
    split = split_of([3, 20, 7, 40], dtype=dtype)
    batch = Batches(split, make_cell(), CPU).at(np.array([0, 2, 1]))
    assert batch.tokens.shape == (3, 1, 32)  # longest 20, rounded up to pad_to 16
    assert batch.mask.sum(2).tolist() == [[3], [7], [20]]
    assert batch.tokens[0, 0, :3].tolist() == split.towers[0].values[:3].tolist()
    assert batch.tokens[1, 0, :7].tolist() == split.towers[0].values[23:30].tolist()
    assert batch.tokens[~batch.mask].eq(0).all()


@pytest.mark.parametrize("lengths", [[0, 0], [0, 0, 5]], ids=["whole split", "one batch"])
def test_a_batch_of_empty_examples_is_padding(lengths):
    batch = Batches(split_of(lengths), make_cell(), CPU).at(np.array([0, 1]))
    assert batch.tokens.shape == (2, 1, 16)
    assert not batch.tokens.any()
    assert batch.mask.sum(2).tolist() == [[1], [1]] and batch.mask[:, :, 0].all()


def test_longer_examples_lose_their_tail():
    batch = Batches(split_of([100, 5]), make_cell(), CPU).at(np.array([0, 1]))
    assert batch.tokens.shape == (2, 1, 64)
    assert batch.mask[0].all()


def test_a_mean_over_all_tokens_pads_every_batch_to_the_full_length():
    split, index = split_of([3, 20]), np.array([0, 1])
    widths = {
        (pooling, over): Batches(
            split, make_cell(encoder={"pooling": pooling, "mean_over": over}), CPU
        ).at(index).tokens.shape[2]
        for pooling in ("MEAN", "CLS") for over in ("all", "real")
    }  # fmt: skip
    assert widths == {("MEAN", "all"): 64, ("MEAN", "real"): 32, ("CLS", "all"): 32,
                      ("CLS", "real"): 32}  # fmt: skip


@pytest.mark.parametrize(("pads", "hides", "mean"), [
    (True, False, 7.5), (True, True, 6.5), (False, False, 16.0), (False, True, 15.0),
])  # fmt: skip
def test_attended_tokens_are_neither_padding_nor_hidden_zeros(pads, hides, mean):
    """Of two examples, in one of which two tokens are 0."""
    split = split_of([3, 12] if pads else [16, 16], pads=pads)
    split.towers[0].values[1:3] = 0
    cell = make_cell(encoder={"mask_zero": hides}, training={"eval_batch_size": 1})
    assert attended_tokens(Batches(split, cell, CPU), cell) == mean


def test_images_are_not_masked():
    batch = Batches(split_of([16, 16], pads=False), make_cell(), CPU).at(np.array([0, 1]))
    assert batch.mask is None


def test_two_towers_make_pairs():
    cell = make_cell(encoder={"towers": 2})
    batch = Batches(split_of([5, 9], towers=2), cell, CPU).at(np.array([0, 1]))
    assert batch.tokens.shape == batch.mask.shape == (2, 2, 16)


def test_a_data_set_that_does_not_fit_the_cell_is_named():
    with pytest.raises(LRAError, match="encoder.vocab_size is 20, but data set 'tiny' has 17"):
        Batches(split_of([5]), make_cell(encoder={"vocab_size": 20}), CPU)


@given(examples=st.integers(1, 50), batch=st.integers(1, 70), seed=st.integers(0, 9))
def test_every_epoch_holds_every_example_once(examples, batch, seed):
    steps = -(-2 * examples // batch)
    order = np.concatenate([training_order(examples, batch, seed, s + 1) for s in range(steps)])
    for epoch in range(2):
        assert sorted(order[epoch * examples : (epoch + 1) * examples]) == list(range(examples))


def test_epochs_and_seeds_are_shuffled_differently():
    first, second = (training_order(100, 100, 1, step) for step in (1, 2))
    assert list(first) != list(second)
    assert list(first) != list(training_order(100, 100, 2, 1))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_a_written_split_reads_back(tmp_path_factory, lengths):
    path = tmp_path_factory.mktemp("split") / "train.arrow"
    split = split_of(lengths)
    values, offsets = split.towers[0].values, split.towers[0].offsets
    tables = [table_of(values, offsets, split.labels)] * 2  # two record batches
    assert write_split(path, tables, split.info) == 2 * len(lengths)
    back = read_split(path)
    assert back.info == split.info
    assert back.towers[0].values.tolist() == 2 * values.tolist()
    assert np.diff(back.towers[0].offsets).tolist() == 2 * lengths
    assert back.labels.tolist() == 2 * split.labels.tolist()
