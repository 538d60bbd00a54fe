"""Self-pretraining: what is predicted from what, what it depends on, how a training begins from it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from lra import attention
from lra.config.cell import Cell, PretrainingCell, read, to_yaml
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.data.split import read_split
from lra.models.classifier import Classifier
from lra.results.records import CurveRow, TrainRecord, read_record, read_table
from lra.training.batches import Batch, Batches
from lra.training.checkpoint import Work
from lra.training.job import train_cell
from lra.training.loop import train
from lra.training.pretraining import IGNORED, TokenPrediction
from lra.training.signals import Stop
from tiny import ROOT, TRAINING, make_cell

CPU = torch.device("cpu")
STILL = {"dropout": 0.0, "attention_dropout": 0.0}
OBJECTIVES = pytest.mark.parametrize("objective", ["masked", "causal"])


def pretrained_cell(objective="masked", pretraining=None, **changed) -> Cell:
    """A tiny cell with 10 steps of pretraining."""
    own = {**TRAINING, "steps": 10, "eval_every": 5, "objective": objective}
    return make_cell(**changed, pretraining={**own, **(pretraining or {})})


def batch_of(cell: Cell, data: Path, size: int = 8) -> Batch:
    return Batches(read_split(data / "train.arrow"), cell, CPU).at(np.arange(size))


def silent(line):
    pass


def pretrain(cell, data, work, **options):
    work = Work(work, "key", silent)
    own = cell.pretraining_cell
    return train(own, data, work, silent, objective=TokenPrediction, **options)


@OBJECTIVES
@pytest.mark.parametrize("pooling", ["MEAN", "CLS"])
def test_the_loss_is_the_mean_of_what_each_token_costs(tiny_listops, objective, pooling):
    """By hand, one token at a time."""
    cell = pretrained_cell(objective, encoder={**STILL, "pooling": pooling}).pretraining_cell
    aim, batch = TokenPrediction(cell), batch_of(cell, tiny_listops)
    torch.manual_seed(0)
    model = aim.model().eval()
    chosen = aim.hidden(batch, step=3)
    costs, right = [], 0
    for row, mask, hidden in zip(batch.tokens[:, 0], batch.mask[:, 0], chosen[:, 0], strict=True):
        tokens = row[mask]
        x = model.embedding(tokens)
        places = range(1, len(tokens))  # what is predicted
        if objective == "masked":
            places = hidden[mask].nonzero()[:, 0].tolist()
            x[places] = model.unknown
        states = model.states(x[None], None)[0][0]
        states = states[1:] if pooling == "CLS" else states
        for place in places:
            scores = model.head(states[place if objective == "masked" else place - 1])
            costs.append(-scores.log_softmax(-1)[tokens[place]])
            right += int(scores.argmax() == tokens[place])
    loss, share = aim.loss(model, batch, step=3)
    assert_close(loss, torch.stack(costs).mean())
    assert share.item() == pytest.approx(right / len(costs))


@OBJECTIVES
def test_padding_is_never_hidden_nor_predicted(tiny_listops, objective):
    cell = pretrained_cell(objective).pretraining_cell
    aim, batch = TokenPrediction(cell), batch_of(cell, tiny_listops, 500)
    hidden = aim.hidden(batch, step=1)
    targets = aim.targets(batch, hidden if objective == "masked" else None)
    assert not batch.mask.all()
    assert not (hidden & ~batch.mask).any()
    assert (targets[targets != IGNORED] > 0).all()
    if objective == "masked":
        assert torch.equal(targets != IGNORED, hidden)
        assert hidden.sum() / batch.mask.sum() == pytest.approx(0.5, abs=0.02)
    else:
        count = (targets != IGNORED).sum(-1)
        assert torch.equal(count, batch.mask.sum(-1) - 1)


def test_an_empty_document_has_nothing_to_predict_and_a_black_pixel_does():
    cell = pretrained_cell().pretraining_cell
    aim, tokens = TokenPrediction(cell), torch.zeros(1, 1, 4, dtype=torch.int32)
    first = torch.tensor([[[True, False, False, False]]])
    empty = Batch(tokens, first, torch.zeros(1))
    loss, right = aim.loss(aim.model(), empty, 1)
    assert (loss.item(), right.item()) == (0, 0)
    assert aim.real(Batch(tokens, None, torch.zeros(1))).all()
    unseen = pretrained_cell(encoder={"mask_zero": True}).pretraining_cell
    assert not TokenPrediction(unseen).real(Batch(tokens, None, torch.zeros(1))).any()


def test_hidden_tokens_are_a_function_of_seed_and_step(tiny_listops):
    cell = pretrained_cell().pretraining_cell
    batch = batch_of(cell, tiny_listops)
    one, other = (TokenPrediction(c) for c in (cell, cell.model_copy(update={"seed": 2})))
    torch.manual_seed(1)
    first = one.hidden(batch, 1)
    torch.manual_seed(2)
    assert torch.equal(first, one.hidden(batch, 1))
    val = Batches(read_split(tiny_listops / "val.arrow"), cell, CPU)
    model = one.model()
    assert one.validate(model, val) == one.validate(model, val)
    for different in (one.hidden(batch, 2), one.hidden(batch, 1, 64), other.hidden(batch, 1)):
        assert not torch.equal(first, different)


@pytest.mark.parametrize("name", ["transformer", "linear", "local", "conv"])
def test_a_causal_state_sees_no_later_token(name):
    cell = pretrained_cell("causal", encoder={**STILL, "attention": name, "layers": 2})
    torch.manual_seed(0)
    model = TokenPrediction(cell.pretraining_cell).model().eval()
    tokens = torch.randint(1, 17, (1, 1, 24))
    later = tokens.clone()
    later[..., 10:] = torch.randint(1, 17, (1, 1, 14))
    first, second = model(tokens), model(later)
    assert_close(first[..., :10, :], second[..., :10, :])
    assert not torch.allclose(first[..., 10:, :], second[..., 10:, :])


@pytest.mark.parametrize("name", attention.names())
def test_info_says_whether_the_causal_version_has_other_weights(name):
    info = attention.info(name)
    if not info.causal:
        assert not info.other_weights
        return
    shapes = [
        {key: value.shape for key, value in module.state_dict().items()}
        for module in (attention.build(name, 16, 2, 64, causal=c) for c in (False, True))
    ]
    assert info.other_weights == (shapes[0] != shapes[1])


@OBJECTIVES
def test_no_label_and_no_test_input_is_read(tiny_listops, tmp_path, objective):
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "val"):
        with pa.ipc.open_file(tiny_listops / f"{split}.arrow") as file:
            table = file.read_all()
        labels = pa.array([0] * len(table), table.schema.field("label").type)
        table = table.set_column(table.schema.get_field_index("label"), "label", labels)
        with pa.ipc.new_file(data / f"{split}.arrow", table.schema) as out:
            out.write_table(table)
    cell = pretrained_cell(objective)
    outcomes = [pretrain(cell, of, tmp_path / of.name) for of in (tiny_listops, data)]
    assert_close(outcomes[0].weights, outcomes[1].weights, rtol=0, atol=0)
    assert not read_split(data / "val.arrow").labels.any()


@OBJECTIVES
def test_the_same_bits_twice_and_after_a_stop(tiny_listops, tmp_path, objective):
    cell = pretrained_cell(objective)  # with dropout
    whole = pretrain(cell, tiny_listops, tmp_path / "whole")
    stop = Stop()

    def at_the_first_evaluation(history):
        stop.note(15, None)

    options = {"stop": stop, "watch": at_the_first_evaluation}
    part = pretrain(cell, tiny_listops, tmp_path / "part", **options)
    assert (part.status, part.steps) == ("stopped", 5)
    resumed = pretrain(cell, tiny_listops, tmp_path / "part")
    assert_close(resumed.weights, whole.weights, rtol=0, atol=0)
    columns = ("step", "split", "loss", "accuracy")
    rows = [[[row[c] for c in columns] for row in run.history] for run in (whole, resumed)]
    assert rows[0] == rows[1]
    assert {row["split"] for row in whole.history} == {"train", "val"}


@pytest.mark.parametrize("pooling", ["MEAN", "CLS", "PMA"])
def test_a_training_begins_with_the_pretrained_encoder_and_a_head_of_its_own(
    tiny_listops, tmp_path, pooling
):
    cell = pretrained_cell(
        encoder={"pooling": pooling}, training={"steps": 1, "eval_every": 1, "learning_rate": 1e-12}
    )
    weights = pretrain(cell, tiny_listops, tmp_path / "first").weights
    save_file(weights, tmp_path / "start.safetensors")
    options = {"start": tmp_path / "start.safetensors"}
    begun = train(cell, tiny_listops, Work(tmp_path / "w", "key", silent), silent, **options)
    torch.manual_seed(cell.seed)
    fresh = Classifier(cell.encoder).state_dict()
    for name, value in begun.weights.items():
        of_head = name.startswith(("head.", "pma."))
        expected = fresh[name] if of_head else weights[name]
        assert_close(value, expected, rtol=0, atol=1e-9)
    moved = {
        n for n in weights if n in fresh and "head" not in n and (weights[n] != fresh[n]).any()
    }
    assert "embedding.weight" in moved and "norm.weight" in moved


def test_a_cell_without_one_is_written_as_before():
    cell = make_cell()
    assert "pretraining" not in json.loads(cell.model_dump_json())
    assert "pretraining" not in to_yaml(cell)
    assert read(Cell, cell.model_dump_json()) == cell
    other = pretrained_cell()
    assert read(Cell, other.model_dump_json()) == other
    own = other.pretraining_cell
    assert read(PretrainingCell, own.model_dump_json()) == own


def test_a_pretraining_depends_on_encoder_pretraining_and_seed_alone():
    def plan(**changed):
        return pretrained_cell(**changed).pretraining_cell.model_dump_json()

    for same in (
        {"training": {"steps": 80, "learning_rate": 0.5}},
        {"encoder": {"head_layers": 1}},
        {"encoder": {"mean_over": "all"}},
        {"encoder": {"pooling": "PMA"}},
    ):
        assert plan(**same) == plan(), same
    for other in (
        {"pretraining": {"steps": 20}},
        {"pretraining": {"masked": 0.4}},
        {"objective": "causal"},
        {"encoder": {"layers": 2}},
        {"encoder": {"pooling": "CLS"}},
        {"seed": 2},
    ):
        assert plan(**other) != plan(), other


def arena(pretraining, model="transformer", **changed) -> Arena:
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    variants = {"pre": {"model": model, "pretraining": pretraining}}
    given |= {"models": ["pre"], "variants": variants, "span": {}}
    return Arena.open({**given, **changed}, [], ROOT, sources=False)


def test_what_is_not_given_is_the_trainings():
    found = arena({"objective": "causal", "steps": 900, "learning_rate": 0.001})
    cell, sources = found.resolve("listops", "pre", 1)
    own = cell.pretraining
    assert (own.objective, own.masked, own.steps, own.learning_rate) == ("causal", 0.5, 900, 0.001)
    same = set(type(cell.training).model_fields) - {"steps", "learning_rate", "objective"}
    assert all(getattr(own, key) == getattr(cell.training, key) for key in same)
    assert sources["pretraining.eval_every"] == sources["training.eval_every"]
    assert sources["pretraining.steps"].endswith("variants.pre")
    overrides = {"pretraining": {"steps": 700}}
    stronger = arena({"objective": "causal", "steps": 900}, overrides=overrides)
    assert stronger.resolve("listops", "pre", 1)[0].pretraining.steps == 700


@pytest.mark.parametrize(
    ("pretraining", "model", "said"),
    [
        ({"objective": "causal"}, "linformer",
         "variants.pre: pretraining.objective: 'linformer' has no causal version; choose 'masked'"),
        ({"objective": "causal"}, "longformer",
         "variants.pre: pretraining.objective: 'longformer' has other weights in its causal "
         "version; choose 'masked'"),
        ({"objective": "maskd"}, "linear",
         "variants.pre.pretraining.objective: 'maskd' is unknown; did you mean 'masked'?"),
        ({}, "linear", "config/config.yaml: pretraining.objective: is missing"),
        ({"objective": "masked", "stps": 3}, "linear",
         "variants.pre.pretraining.stps: unknown key; did you mean 'steps'?"),
        ({"objective": "masked", "masked": 1}, "linear", "pretraining.masked: Input should be less"),
        ({"objective": "masked", "steps": 3}, "linear", "eval_every: 80 is more than the 3 steps"),
    ],
    ids=["no causal version", "other weights", "objective", "none", "key", "share", "evaluation"],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_key(pretraining, model, said):
    with pytest.raises(LRAError) as error:
        arena(pretraining, model)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def both(cell: Cell, data: Path, folder: Path) -> tuple[TrainRecord, TrainRecord]:
    """A pretraining and the training from it, as jobs; their records."""
    first, out = folder / "pretrained", folder / "cell"
    train_cell(cell.pretraining_cell, data, first, folder / "work/pretrained")
    train_cell(cell, data, out, folder / "work/cell", pretrained=first)
    paths = (first / "pretrain.json", out / "train.json")
    return tuple(read_record(path, TrainRecord) for path in paths)


def test_the_files_of_both_jobs_and_their_finished_copies(tiny_listops, tmp_path):
    cell = pretrained_cell(training={"steps": 10})
    first, then = both(cell, tiny_listops, tmp_path)
    assert (first.status, then.status) == ("ok", "ok")
    assert then.pretrained and first.pretrained is None
    names = {"config.yaml", "checkpoint.safetensors", "history.parquet"}
    assert {p.name for p in (tmp_path / "pretrained").iterdir()} == {*names, "pretrain.json"}
    curve = read_table(tmp_path / "pretrained/history.parquet", CurveRow).to_pylist()
    validated = {row["step"]: row["accuracy"] for row in curve if row["split"] == "val"}
    assert first.val_accuracy == validated[first.chosen_step]
    unknown = load_file(tmp_path / "pretrained/checkpoint.safetensors")["unknown"]
    assert unknown.shape == (32,)
    for name in ("pretrained", "cell"):  # as Snakemake deletes a failed job's outputs
        shutil.rmtree(tmp_path / name)
    before = (first.train_seconds, then.train_seconds)
    assert tuple(r.train_seconds for r in both(cell, tiny_listops, tmp_path)) == before
    # another pretraining: the finished copy of the old one's training is not taken
    other = pretrained_cell(pretraining={"masked": 0.3}, training={"steps": 10})
    train_cell(other.pretraining_cell, tiny_listops, tmp_path / "other", tmp_path / "work/other")
    train_cell(
        cell, tiny_listops, tmp_path / "cell", tmp_path / "work/cell", pretrained=tmp_path / "other"
    )
    again = read_record(tmp_path / "cell/train.json", TrainRecord)
    assert again.pretrained != then.pretrained


def test_a_pretraining_that_diverged_gives_the_training_its_status(tiny_listops, tmp_path):
    cell = pretrained_cell(pretraining={"learning_rate": 1e30})
    first, then = both(cell, tiny_listops, tmp_path)
    assert first.status == then.status == "diverged"
    assert then.reason == f"pretraining: {first.reason}"
    assert (then.steps, then.val_accuracy) == (0, None)
    assert then.params > 0


def test_a_cell_and_its_pretraining_go_together(tiny_listops, tmp_path):
    with pytest.raises(LRAError, match="--pretrained goes with a cell that has a pretraining"):
        train_cell(pretrained_cell(), tiny_listops, tmp_path / "out", tmp_path / "work")
