"""Objectives `next` and `masked`: what is read, hidden and predicted, and what that costs."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch.testing import assert_close

from lra import attention
from lra.config.cell import Cell
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.data.generate import generate_dataset
from lra.data.split import read_split
from lra.evaluation.job import score_cell
from lra.evaluation.tokens import answers, evaluate, spaced, state_bytes
from lra.models.token_model import TokenModel
from lra.results.records import CurveRow, ScoreRecord, TrainRecord, read_record, read_table
from lra.training.batches import Batch, Batches
from lra.training.job import train_cell
from lra.training.tokens import IGNORED, LEAST, OBJECTIVES, Masked, Next
from tiny import ROOT, make_cell

CPU = torch.device("cpu")
SMALL = {"max_length": 16, "vocab_size": 16, "pairs": [1, 2]}
STILL = {"dropout": 0.0, "attention_dropout": 0.0, "max_len": 16, "vocab_size": 16, "classes": 16}
BOTH = pytest.mark.parametrize("objective", ["next", "masked"])


def token_cell(objective="next", training=None, **encoder) -> Cell:
    own = {"objective": objective, "draws": 3, **(training or {})}
    return make_cell(task="recall", training=own, encoder={**STILL, **encoder})


@pytest.fixture(scope="module")
def tiny_recall(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "recall"
    generate_dataset("recall", SMALL, {"train": 400, "val": 50, "test": 60}, 0, folder)
    return folder


def windows(count: int = 6, length: int = 16) -> Batch:
    """Tokens of which all are to be predicted."""
    torch.manual_seed(4)
    tokens = torch.randint(16, (count, 1, length), dtype=torch.int32)
    return Batch(tokens, None, torch.zeros(count, dtype=torch.int64))


def seeded(aim, seed=0) -> TokenModel:
    torch.manual_seed(seed)
    return aim.model().eval()


def test_next_costs_the_sum_of_each_tokens_logarithm_given_those_before_it():
    """By hand, one prefix at a time: the first token from the learned vector alone."""
    aim, batch = Next(token_cell()), windows(2)
    model = seeded(aim)
    costs = []
    for row in batch.tokens[:, 0].long():
        for place in range(len(row)):
            x = torch.cat([model.unknown[None], model.embedding(row[:place])])[None]
            scores = model.head(model.states(x, None)[0][0, -1])
            costs.append(-scores.log_softmax(-1)[row[place]])
    loss, _ = aim.loss(model, batch, 1)
    assert_close(loss, torch.stack(costs).mean())


@pytest.mark.parametrize("name", [n for n in attention.names() if attention.info(n).causal])
def test_under_next_no_token_is_predicted_from_itself_or_a_later_one(name):
    if name in ("reformer", "routing"):  # later tokens choose what earlier ones see
        pytest.skip("its causal form is not strict")
    aim, batch = Next(token_cell(attention=name, layers=2)), windows(2)
    model = seeded(aim)
    later = Batch(batch.tokens.clone(), None, batch.labels)
    later.tokens[..., 9:] = 15 - later.tokens[..., 9:]
    first, second = (
        model(q.batch.tokens, None, q.hidden) for q in map(aim.question, (batch, later))
    )
    assert_close(first[..., :10, :], second[..., :10, :])
    assert not torch.allclose(first[..., 10:, :], second[..., 10:, :])


def test_masked_hides_shares_spread_over_the_batch_and_weighs_by_them():
    aim, batch = Masked(token_cell("masked")), windows(64, 512)
    question = aim.question(batch, 3)
    shares = 1 / question.weights[:, 0, 0]
    part = (shares - LEAST) / (1 - LEAST) * 64
    assert_close(part.floor(), torch.arange(64.0))  # one of each of 64 equal parts
    assert shares.min() >= LEAST and shares.max() <= 1
    found = question.hidden.double().mean((1, 2))
    assert (found - shares).abs().max() < 0.1
    assert torch.equal(question.targets != IGNORED, question.hidden)
    assert question.over.all()
    again, other = aim.question(batch, 3), aim.question(batch, 4)
    assert torch.equal(again.hidden, question.hidden)
    assert not torch.equal(other.hidden, question.hidden)


def test_no_share_is_below_a_thousandth():
    """Without that bound one batch in 16 would have one, and a weight above 1,000."""
    aim, batch = Masked(token_cell("masked")), windows(64, 1)
    weights = torch.stack([aim.question(batch, step).weights for step in range(200)])
    assert weights.max() <= 1000.5 and weights.max() > 500


def test_the_masked_loss_is_the_weighted_cost_over_all_tokens():
    aim, batch = Masked(token_cell("masked")), windows(4)
    model, question = seeded(aim), aim.question(batch, 1)
    scores = model(batch.tokens, None, question.hidden).log_softmax(-1)
    total = 0
    for b, n in question.hidden[:, 0].nonzero().tolist():
        total = total - scores[b, 0, n, batch.tokens[b, 0, n].long()] * question.weights[b, 0, n]
    loss, right = aim.loss(model, batch, 1)
    assert_close(loss, total / batch.tokens.numel())
    assert 0 <= right.item() <= 1


class Given:
    """Windows in place of a split's `Batches`."""

    def __init__(self, batch: Batch) -> None:
        self.batch, self.device, self.max_len = batch, CPU, batch.tokens.shape[-1]

    def __len__(self) -> int:
        return len(self.batch.tokens)

    def in_batches(self, size):
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            one = Batch(self.batch.tokens[part], None, self.batch.labels[part])
            yield np.arange(len(self))[part], one


def drawn(batch: Batch, draws: int, size: int = 64):
    aim = Masked(token_cell("masked", training={"eval_batch_size": size}))
    found = list(aim.questions(Given(batch), draws))
    hidden = torch.cat([question.hidden for question in found])
    return aim, hidden, torch.cat([question.weights for question in found])


def test_an_evaluation_hides_every_number_of_tokens_alike_whatever_the_batch_size():
    batch = windows(64, 8)
    _, hidden, weights = drawn(batch, 4)
    counts = hidden.sum((1, 2))
    assert_close(weights[:, 0, 0], 8 / counts.float())
    for draw, own in enumerate(counts.view(4, 64)):  # each of four parts of 1 to 8
        assert set(own.tolist()) == {2 * draw + 1, 2 * draw + 2}
        assert (own == 2 * draw + 1).double().mean() == pytest.approx(0.5, abs=0.05)
    _, other, _ = drawn(batch, 4, size=5)
    assert torch.equal(hidden, other)


def test_the_bound_of_a_model_that_knows_the_true_conditionals_is_the_entropy():
    """LLaDA's equation 6 is exact for such a model. Here: two equal bits, then two equal bits."""
    truth = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    tokens = truth.repeat(256, 1)[:, None].int()
    batch = Batch(tokens, None, torch.zeros(len(tokens), dtype=torch.int64))
    aim, hidden, weights = drawn(batch, 4)
    every = tokens.repeat(4, 1, 1)
    twin = torch.tensor([1, 0, 3, 2])
    unknown = hidden & hidden[..., twin]  # its equal is hidden, too: one bit; else nothing
    bits = (unknown * weights).sum() / every.numel()
    assert bits.item() == pytest.approx(2 / 4, abs=0.01)  # two bits in four tokens


@BOTH
def test_a_model_without_knowledge_pays_the_vocabularys_logarithm(tiny_recall, objective):
    cell = token_cell(objective)
    aim = OBJECTIVES[objective](cell)
    model = seeded(aim)
    torch.nn.init.zeros_(model.head.weight)
    loss, _ = aim.validate(model, Batches(read_split(tiny_recall / "val.arrow"), cell, CPU))
    assert loss == pytest.approx(np.log(16), abs=1e-5)


@BOTH
def test_only_marked_tokens_are_hidden_or_predicted(tiny_recall, objective):
    cell = token_cell(objective)
    aim = OBJECTIVES[objective](cell)
    batches = Batches(read_split(tiny_recall / "train.arrow"), cell, CPU)
    batch = batches.at(np.arange(50))
    assert torch.equal(batch.counted.sum((1, 2)), batch.labels)
    question = aim.question(batch, 1)
    asked = question.targets != IGNORED
    assert not (asked & ~batch.counted).any() and asked.any()
    assert torch.equal(question.targets[asked], batch.tokens.long()[asked])
    if objective == "masked":
        assert not (question.hidden & ~batch.counted).any()
        assert torch.equal(question.over, batch.counted)
    else:
        assert torch.equal(asked, batch.counted)


@BOTH
def test_a_cell_is_trained_chosen_by_its_loss_scored_and_counted_in_parts(
    tiny_recall, tmp_path, objective
):
    cell = token_cell(objective, training={"eval_batch_size": 7})
    train_cell(cell, tiny_recall, tmp_path / "cell", tmp_path / "work")
    record = read_record(tmp_path / "cell/train.json", TrainRecord)
    curve = read_table(tmp_path / "cell/history.parquet", CurveRow).to_pylist()
    val = {row["step"]: row for row in curve if row["split"] == "val"}
    assert record.chosen_step == min(val, key=lambda step: val[step]["loss"])
    assert record.val_accuracy == val[record.chosen_step]["accuracy"]
    score_cell(tmp_path / "cell", tiny_recall, tmp_path / "work")
    score = read_record(tmp_path / "cell/score.json", ScoreRecord)
    assert (score.status, score.objective, score.n_test) == ("ok", objective, 60)
    for by in ("position", "label"):
        parts = [part for part in score.parts if part.by == by]
        tokens = sum(part.tokens for part in parts)
        loss = sum(part.tokens * part.loss for part in parts) / tokens
        right = sum(p.predictions * p.accuracy for p in parts if p.predictions)
        assert loss == pytest.approx(score.loss)
        assert right / sum(p.predictions for p in parts) == pytest.approx(score.accuracy)
        count = int(read_split(tiny_recall / "test.arrow").counted.values.sum())
        assert tokens == count * (3 if objective == "masked" else 1)
    assert [part.first for part in score.parts if part.by == "label"] == [1, 2]
    assert (score.long_loss, score.long_reason) == (None, None)  # no window follows another
    assert (score.state_bytes is None) == (score.exact_match is None) == (objective == "masked")


@BOTH
@torch.no_grad()
def test_a_score_is_of_a_model_that_does_not_see_what_is_hidden(tiny_recall, tmp_path, objective):
    """Beside a loop over the questions, in which each hidden token is another one's number."""
    cell = token_cell(objective, training={"eval_batch_size": 7})
    aim, test = OBJECTIVES[objective](cell), tiny_recall / "test.arrow"
    model = seeded(aim)
    save_file(model.state_dict(), tmp_path / "weights")
    total, over = 0.0, 0
    for question in aim.questions(Batches(read_split(test), cell, CPU), 3):
        other = (question.batch.tokens + 1) % 16
        read = other.where(question.hidden, question.batch.tokens)
        scores = model(read, None, question.hidden).double().log_softmax(-1)
        asked = question.targets != IGNORED
        chosen = scores.gather(-1, question.targets.where(asked, 0)[..., None])[..., 0]
        weights = torch.ones(()) if question.weights is None else question.weights
        total -= (chosen * weights * asked).sum().item()
        over += (asked if question.over is None else question.over).sum().item()
    assert evaluate(cell, tmp_path / "weights", test).loss == pytest.approx(total / over, abs=1e-5)


def test_the_state_is_that_after_a_whole_window():
    cell = token_cell(attention="transformer", layers=2, dim=8, qkv_dim=8, heads=2)
    held = 2 * 2 * 16 * 8 * 4  # keys and values of 2 layers and 16 tokens, 8 float32 each
    assert state_bytes(seeded(Next(cell)), 16) == held
    reversible = token_cell(attention="reformer", options={"reversible": True})
    assert state_bytes(seeded(Next(reversible)), 16) is None


def test_a_denoiser_has_no_state(tiny_recall, tmp_path):
    cell = token_cell("masked", attention="deltanet")
    save_file(seeded(Masked(cell)).state_dict(), tmp_path / "weights")
    assert evaluate(cell, tmp_path / "weights", tiny_recall / "test.arrow").state_bytes is None


def test_positions_are_in_doubling_parts():
    assert spaced(1) == [(1, 1)]
    assert spaced(16) == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 16)]
    assert spaced(100)[-1] == (65, 100)


def test_answers_say_which_were_right():
    aim, batch = Next(token_cell()), windows(1, 4)
    scores = torch.nn.functional.one_hot(batch.tokens.long(), 16) * 50.0
    loss, right, asked, over = answers(scores, aim.question(batch))
    assert right.all() and asked.all() and over.all() and loss.max() < 1e-6


def test_a_cell_with_labels_is_written_as_before():
    text = make_cell().model_dump_json()
    assert "objective" not in text and "draws" not in text
    assert json.loads(token_cell("masked").model_dump_json())["training"]["draws"] == 3


def arena(file="ar-quick", **changed) -> Arena:
    given = yaml.safe_load((ROOT / f"config/{file}.yaml").read_text())
    return Arena.open({**given, **changed}, [ROOT / f"config/{file}.yaml"], ROOT, sources=False)


def test_both_objectives_have_the_same_encoder_and_windows():
    found = arena()
    for causal, denoiser in (("linear", "linear-masked"), ("s4d", "s4d-masked")):
        one, other = (found.resolve("bytes", name, 1)[0] for name in (causal, denoiser))
        assert (one.training.objective, other.training.objective) == ("next", "masked")
        assert one.encoder == other.encoder and one.dataset == other.dataset
        same = {"training": one.training, "model": one.model}
        assert other.model_copy(update=same) == one
    assert found.predicts_tokens and found.span_models() == []


def test_every_mechanism_can_be_a_denoiser_and_the_causal_ones_predict_next_tokens():
    names = attention.names()
    hidden = {f"{n}-m": {"model": n, "training": {"objective": "masked"}} for n in names}
    causal = [name for name in names if attention.info(name).causal]
    found = arena(models=[*causal, *hidden], variants=hidden)
    for name in itertools.chain(causal, hidden):
        assert found.resolve("bytes", name, 1)[0].predicts_tokens


@pytest.mark.parametrize(
    ("file", "changed", "said"),
    [
        ("ar-quick", {"models": ["linformer"]},
         "config/tasks/bytes.yaml: training.objective: 'linformer' has no causal version; choose 'masked'"),
        ("ar-quick", {"models": ["linear"], "overrides": {"training": {"objective": "classify"}}},
         "overrides: training.objective: 'bytes' has no labels; choose 'next' or 'masked'"),
        ("ar-quick", {"models": ["linear"], "overrides": {"training": {"objective": "maskd"}}},
         "overrides.training.objective: 'maskd' is unknown; did you mean 'masked'?"),
        ("ar-quick", {"models": ["linear"], "overrides": {"encoder": {"mask_zero": True}}},
         "encoder.mask_zero: hides tokens that are predicted"),
        ("ar-quick", {"models": ["linear"], "overrides": {"pretraining": {"objective": "masked"}}},
         "pretraining: 'bytes' has no labels to be trained on after it"),
        ("ar-quick", {"models": ["linear"], "span": {"models": ["linear"]}},
         "span.models: spans are of models that predict labels; remove it"),
        ("config", {"models": ["linear"], "overrides": {"training": {"objective": "next"}}},
         "overrides: training.objective: the labels of 'listops' are predicted; choose 'classify'"),
    ],
    ids=["no causal version", "no labels", "word", "mask_zero", "pretraining", "span", "labels"],
)  # fmt: skip
def test_the_impossible_is_one_line(file, changed, said):
    with pytest.raises(LRAError) as error:
        arena(file, **changed)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_of_rates_serves_tokens():
    found = arena("ar-recall")
    assert len(found.experiment.trained) == 3 * len(found.experiment.models)
    rate = {n: found.resolve("recall", n, 1)[0].training.learning_rate for n in ("s4d", "s4d@3.3")}
    assert rate == {"s4d": 0.003, "s4d@3.3": 0.0099}


def test_tasks_with_and_without_labels_are_two_experiments(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    file = tmp_path / "config/protocols/ar-quick.yaml"
    text = file.read_text()
    file.write_text(f"{text}  listops:\n    dataset: listops-small\n")
    given = yaml.safe_load((ROOT / "config/ar-quick.yaml").read_text())
    given |= {"tasks": ["bytes", "listops"], "models": ["linear"], "variants": {}}
    with pytest.raises(LRAError, match="'bytes' has no labels and others have; make an experiment"):
        Arena.open(given, [tmp_path / "config/ar-quick.yaml"], tmp_path, sources=False)
