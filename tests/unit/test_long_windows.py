"""Windows 16 times as long as in training: the same tokens, read by the trained weights."""

from __future__ import annotations

import math
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lra import attention
from lra.archive import consistency
from lra.config.cell import Cell
from lra.data import enwik8_windows
from lra.data.split import Info, grid_table, read_split, write_split
from lra.evaluation import long_windows
from lra.evaluation import tokens as scoring
from lra.evaluation.job import score_cell
from lra.evaluation.tokens import evaluate
from lra.results import layout
from lra.results.collect import collect
from lra.results.records import PartRow, ScoreRecord, read_record, read_table
from lra.training.batches import Batch, Batches
from lra.training.job import train_cell
from lra.training.tokens import OBJECTIVES, Next
from prepared import prepare
from tiny import make_cell

CPU = torch.device("cpu")
LENGTH, LONG = 8, 128
STILL = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "max_len": LENGTH,
    "vocab_size": 16,
    "classes": 16,
}
BOTH = pytest.mark.parametrize("objective", ["next", "masked"])


def token_cell(objective="next", training=None, **encoder) -> Cell:
    own = {"objective": objective, "draws": 3, **(training or {})}
    return make_cell(task="bytes", training=own, encoder={**STILL, **encoder})


@pytest.fixture
def split_file(tmp_path):
    """35 windows: two long ones, and three windows that are left."""
    text = np.random.default_rng(5).integers(0, 16, (35, LENGTH), np.uint8)
    info = Info("bytes", 16, 16, LENGTH, pads=False)
    write_split(tmp_path / "test.arrow", [grid_table(text, np.zeros(35, np.int64))], info)
    return tmp_path / "test.arrow"


def scored(cell: Cell, test, uniform: bool = False):
    torch.manual_seed(3)
    model = OBJECTIVES[cell.training.objective](cell).model()
    if uniform:
        torch.nn.init.zeros_(model.head.weight)
    checkpoint = test.with_name("checkpoint.safetensors")
    save_file(model.state_dict(), checkpoint)
    return model.eval(), evaluate(cell, checkpoint, test)


def test_a_long_window_is_16_windows_in_a_row(split_file):
    split = read_split(split_file)
    found, cell = long_windows.joined(split), long_windows.longer(token_cell())
    tokens = Batches(found, cell, CPU).at(np.arange(2)).tokens
    assert tokens.shape == (2, 1, LONG)
    assert np.array_equal(tokens.numpy().ravel(), split.towers[0].values[: 32 * LENGTH])


def test_a_batch_of_long_windows_has_no_more_tokens():
    for size, expected in ((64, 4), (8, 1)):
        cell = token_cell(training={"eval_batch_size": size})
        assert long_windows.longer(cell).training.eval_batch_size == expected


@torch.no_grad()
def test_a_long_window_costs_what_the_model_says_of_each_token_after_all_before_it(split_file):
    """Identity knows the token before alone: so each pair of the text has a cost of its own."""
    model, found = scored(token_cell(attention="identity", positions="none"), split_file)
    values = torch.from_numpy(read_split(split_file).towers[0].values[: 32 * LENGTH].astype(int))
    before = torch.cat([model.unknown[None], model.embedding(torch.arange(16))])[:, None]
    costs = -model.head(model.states(before, None)[0])[:, 0].log_softmax(-1)  # (17, 16)
    seen = values.view(2, LONG)[:, :-1] + 1
    read = torch.cat([torch.zeros(2, 1, dtype=torch.long), seen], dim=1)
    by_hand = costs[read, values.view(2, LONG)].mean(0).double()
    assert found.long_loss == pytest.approx(by_hand.mean().item(), abs=1e-6)
    long = [part for part in found.parts if part.times == 16]
    assert [part.last for part in long] == [1, 2, 4, 8, 16, 32, 64, 128]
    for part in long:
        mean = by_hand[part.first - 1 : part.last].mean().item()
        assert part.loss == pytest.approx(mean, abs=1e-6), part


@BOTH
def test_each_token_of_the_long_windows_counts_once_a_draw(split_file, objective):
    _, found = scored(token_cell(objective), split_file, uniform=True)
    long = [part for part in found.parts if part.times == 16]
    assert sum(part.tokens for part in long) == 2 * LONG * (3 if objective == "masked" else 1)
    assert found.long_loss == pytest.approx(math.log(16)) == found.loss
    assert found.long_reason is None


@pytest.mark.parametrize("name", [n for n in attention.names() if attention.info(n).causal])
@torch.no_grad()
def test_the_first_window_of_a_long_one_costs_what_it_costs_alone(name):
    cell = token_cell(attention=name, layers=2)
    if long_windows.unread(cell, range(16)):
        pytest.skip("its weights are for windows of one length")
    if name == "reformer":  # later tokens choose what earlier ones see
        pytest.skip("its causal form is not strict")
    torch.manual_seed(1)
    short, long = Next(cell).model().eval(), Next(long_windows.longer(cell)).model().eval()
    long.load_state_dict(short.state_dict())
    tokens = torch.randint(16, (2, 1, LONG), dtype=torch.int32)
    question = Next(cell).question(Batch(tokens, None, torch.zeros(2)))
    found = long(question.batch.tokens, None, question.hidden)
    first = (question.batch.tokens[..., :LENGTH], None, question.hidden[..., :LENGTH])
    torch.testing.assert_close(found[..., :LENGTH, :], short(*first), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("changed", "count", "said"),
    [
        ({"positions": "learned"}, 16, "positions are learned, for 8 tokens"),
        ({"attention": "linformer"}, 16, "weights are for 8 tokens"),
        ({"attention": "linear"}, 15, "the test split has fewer than 16 windows"),
    ],
    ids=["positions", "weights", "windows"],
)
def test_why_a_model_does_not_read_them(changed, count, said):
    assert long_windows.unread(token_cell("masked", **changed), range(count)) == said


def test_what_is_not_read_has_a_reason_and_no_value(split_file):
    _, found = scored(token_cell(positions="learned"), split_file)
    assert (found.long_loss, found.long_reason) == (None, "positions are learned, for 8 tokens")
    assert {part.times for part in found.parts} == {1}


@pytest.mark.slow
def test_the_record_has_both_lengths_and_agrees_with_itself(tmp_path, monkeypatch):
    text = np.random.default_rng(6).integers(97, 105, 1000, np.uint8).tobytes()
    ends = {"train": slice(0, 600), "val": slice(600, 800), "test": slice(800, 1000)}
    monkeypatch.setattr(enwik8_windows, "PARTS", ends)
    with zipfile.ZipFile(tmp_path / "x.tar.gz", "w") as file:
        file.writestr("enwik8", text)
    data, options = tmp_path / "data", {"max_length": LENGTH}
    prepare(tmp_path / "x.tar.gz", data, "enwik8_windows", (75, 20, 20), options=options)
    cell = token_cell(training={"steps": 2, "eval_every": 2}, vocab_size=256, classes=256)
    place = tmp_path / layout.CELL.format(task="bytes", model=cell.model, seed=cell.seed)
    train_cell(cell, data, place, tmp_path / "work")
    score_cell(place, data, tmp_path / "work")
    score = read_record(place / "score.json", ScoreRecord)
    assert score.long_loss > 0 and score.state_bytes > 0 and score.long_reason is None
    assert consistency._parts("score.json", score, 20) == []
    broken = score.model_copy(update={"long_loss": score.long_loss + 0.1})
    (said,) = consistency._parts("score.json", broken, 20)
    assert said.startswith("score.json: long_loss")
    table = tmp_path / "parts.parquet"
    collect("parts", tmp_path, table, ["bytes"], [cell.model], [cell.seed], [])
    rows = read_table(table, PartRow).to_pylist()
    assert {row["times"] for row in rows if row["by"] == "position"} == {1, 16}


@pytest.mark.parametrize("said", ["CUDA out of memory", "another"])
def test_memory_that_runs_out_is_a_reason_and_no_other_error_is(split_file, monkeypatch, said):
    read = scoring.sums

    def short_of_memory(model, cell, split, device):
        if cell.encoder.max_len == LONG:
            raise torch.OutOfMemoryError(said) if "memory" in said else RuntimeError(said)
        return read(model, cell, split, device)

    monkeypatch.setattr(scoring, "sums", short_of_memory)
    if said == "another":
        with pytest.raises(RuntimeError, match=said):
            scored(token_cell(), split_file)
        return
    _, found = scored(token_cell(), split_file)
    assert (found.long_loss, found.long_reason) == (None, "memory ran out")
    assert found.loss > 0 and {part.times for part in found.parts} == {1}
