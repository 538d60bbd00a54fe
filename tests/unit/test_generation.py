"""What a trained cell generates by each sampler: what is counted, and what stands in its record."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_tokens import BOTH, SMALL, arena, seeded, token_cell

from lra.config.cell import to_yaml
from lra.core.errors import LRAError
from lra.data import markov
from lra.data.generate import generate_dataset
from lra.data.split import Info, grid_table, read_split, write_split
from lra.evaluation import generate
from lra.evaluation.generate import Asked
from lra.evaluation.job import generate_tokens
from lra.evaluation.tokens import evaluate
from lra.results import fingerprint
from lra.results.collect import collect
from lra.results.generations import GenerationRecord, GenerationRow
from lra.results.records import TrainRecord, named, read_record, read_table, write_record
from lra.training.batches import Batches
from lra.training.tokens import OBJECTIVES
from tiny import make_cell

CPU = torch.device("cpu")
ASKED = Asked(examples=40, steps=[1, 2, 64], blocks=[1, 2, 4], batch_size=16)
MADE = {"fingerprint": "f" * 16, "device": "cpu: x", "torch_version": "2", "git_commit": None}
TRAINED = {"params": 1, "steps": 1, "chosen_step": 1, "train_seconds": 1.0, "val_accuracy": 50.0}


@pytest.fixture(scope="module")
def recall(tmp_path_factory) -> Path:
    """Examples of one to four pairs."""
    folder = tmp_path_factory.mktemp("data") / "recall"
    generate_dataset("recall", {**SMALL, "pairs": [1, 2, 4]}, dict.fromkeys(("train", "val", "test"), 60), 0, folder)  # fmt: skip
    return folder


def folder_of(cell, place: Path, status="ok") -> Path:
    """As after a training: untrained weights, whose answers are nevertheless some."""
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(to_yaml(cell))
    save_file(seeded(OBJECTIVES[cell.training.objective](cell)).state_dict(), place / "checkpoint.safetensors")  # fmt: skip
    reason = None if status == "ok" else "a reason"
    record = TrainRecord(**named(cell), **MADE, **TRAINED, status=status, reason=reason)
    write_record(place / "train.json", record)
    return place


def rows_of(cell, data: Path, tmp_path: Path, asked=ASKED) -> list:
    place = folder_of(cell, tmp_path / f"cells/{asked.batch_size}")
    return generate.generate(cell, place / "checkpoint.safetensors", data / "test.arrow", asked)[0]


def counts(row) -> tuple:
    return row.sampler, row.block, row.steps, row.solved, row.right, row.evaluations


def test_right_and_solved_are_of_all_missing_tokens_predicted_at_once(recall, tmp_path):
    """One step is one forward pass with every answer hidden, counted here by hand."""
    cell = token_cell("masked")
    (row,) = (
        r for r in rows_of(cell, recall, tmp_path) if (r.sampler, r.steps) == ("confidence", 1)
    )
    batch = Batches(read_split(recall / "test.arrow"), cell, CPU).at(np.arange(40))
    with torch.no_grad():
        scores = seeded(OBJECTIVES["masked"](cell))(batch.tokens, None, batch.counted)
    right = (scores.argmax(-1) == batch.tokens) & batch.counted
    wrong = (batch.counted & ~right).any(-1)
    assert row.right == pytest.approx(100 * right.sum().item() / batch.counted.sum().item())
    assert row.solved == pytest.approx(100 * (1 - wrong.double().mean().item()))
    assert row.low <= row.solved <= row.high and 0 < row.right < 100
    assert row.tokens == batch.counted.sum() and (row.examples, row.evaluations) == (40, 1)
    assert row.token_evaluations == 16


def test_greedy_decoding_solves_what_evaluate_calls_an_exact_match(recall, tmp_path):
    """Evaluation reads the true tokens before each answer, decoding its own."""
    cell = token_cell(training={"eval_batch_size": 7})
    (row,) = rows_of(cell, recall, tmp_path, Asked(60, [], [], 16))
    score = evaluate(cell, tmp_path / "cells/16/checkpoint.safetensors", recall / "test.arrow")
    assert 0 < score.exact_match < score.accuracy < 100
    assert score.exact_match == pytest.approx(row.solved)


@BOTH
def test_the_batch_size_changes_no_answer_and_no_cost(recall, tmp_path, objective):
    cell, other = token_cell(objective), Asked(40, [1, 2, 64], [1, 2, 4], 7)
    found = [[counts(row) for row in rows_of(cell, recall, tmp_path, a)] for a in (ASKED, other)]
    assert found[0] == found[1]


def test_no_row_is_there_twice(recall):
    """Of at most four answers: more steps, and a block of four, would be others again."""
    split = read_split(recall / "test.arrow")
    whole = [(order, None, steps) for order in ("random", "confidence") for steps in (1, 2, 4)]
    blocks = [("blocks", 1, 1), ("blocks", 2, 1), ("blocks", 2, 2)]
    assert generate.ways("masked", split, ASKED) == whole + blocks
    assert generate.ways("next", split, ASKED) == [("autoregressive", None, None)]


@pytest.fixture
def text(tmp_path) -> Path:
    """Windows of which all tokens are to be predicted."""
    tokens = np.random.default_rng(0).integers(0, 16, (30, 16)).astype(np.uint8)
    info = Info("bytes", 16, 16, 16, pads=False, generator={"name": "recall"})
    write_split(tmp_path / "text.arrow", [grid_table(tokens, np.zeros(30, np.int64))], info)
    return tmp_path / "text.arrow"


@BOTH
def test_a_task_may_say_which_sequences_are_possible_and_how_likely(text, tmp_path, objective):
    """Here: those that begin with an even token, each of their tokens worth three bits."""

    def likelihood(info, tokens):
        assert (info.task, tokens.dtype) == ("bytes", np.int64)
        nats = np.full(len(tokens), -3 * math.log(2) * tokens.shape[1])
        return np.where(tokens[:, 0] % 2, -np.inf, nats)

    cell = token_cell(objective)
    checkpoint = folder_of(cell, tmp_path / "cell") / "checkpoint.safetensors"
    asked = Asked(30, [1, 16], [], 8)
    judged, _ = generate.generate(cell, checkpoint, text, asked, likelihood)
    for row in judged:
        assert 10 < row.solved < 90 and row.bits == pytest.approx(3) and row.right is None
    alone, _ = generate.generate(cell, checkpoint, text, asked)
    assert [(row.solved, row.right, row.bits, row.tokens) for row in alone] == [
        (None, None, None, 30 * 16)
    ] * len(judged)


def test_the_likelihood_of_a_task_is_that_of_its_module():
    """Markov text has one: what it wrote is possible, and uniform text hardly ever is."""
    config = markov.Config()
    info, likelihood = markov.info(config), generate.likelihood_of("markov")
    texts = np.array(markov.chunk(config, 0, 0).column("tokens").to_pylist()[:20])
    noise = np.random.default_rng(0).integers(0, info.vocab_size, texts.shape)
    assert np.isfinite(likelihood(info, texts)).all()
    assert likelihood(info, noise).mean() < likelihood(info, texts).mean()
    assert generate.likelihood_of("recall") is None


def record_of(cell, data, tmp_path, status="ok") -> GenerationRecord:
    out = tmp_path / f"generate/{cell.task}/{cell.model}/seed{cell.seed}.json"
    folder = folder_of(cell, tmp_path / "cell", status)
    generate_tokens(folder, data, out, 40, [1, 2], [2], 16)
    return read_record(out, GenerationRecord)


def test_the_record_says_its_cell_and_is_collected_row_by_row(recall, tmp_path, capsys):
    record = record_of(token_cell("masked"), recall, tmp_path)
    assert (record.task, record.objective, record.reason) == ("recall", "masked", None)
    assert "confidence, steps 2: " in capsys.readouterr().err
    out = tmp_path / "generate.parquet"
    collect("generate", tmp_path, out, ["recall"], ["transformer"], [1], [])
    rows = read_table(out, GenerationRow).to_pylist()
    assert [row["evaluations"] for row in rows] == [e.evaluations for e in record.samplers]
    assert {row["mechanism"] for row in rows} == {"transformer"} and len(rows) == 6
    collect("generate", tmp_path, out, ["recall"], [], [1], [])
    assert len(read_table(out, GenerationRow)) == 0


def test_a_row_that_is_ok_without_its_cost_is_an_error(recall, tmp_path):
    record = record_of(token_cell("next"), recall, tmp_path)
    (row,) = record.samplers
    broken = record.model_copy(update={"samplers": [row.model_copy(update={"evaluations": None})]})
    write_record(tmp_path / "generate/recall/transformer/seed1.json", broken)
    with pytest.raises(LRAError, match=r"seed1\.json: evaluations is None though status is ok"):
        collect("generate", tmp_path, tmp_path / "x", ["recall"], ["transformer"], [1], [])


@pytest.mark.parametrize("status", ["diverged", "oom"])
def test_a_cell_that_is_not_trained_has_one_row_with_its_status_and_no_number(
    recall, tmp_path, status
):
    record = record_of(token_cell("next"), recall, tmp_path, status)
    (row,) = record.samplers
    assert (row.sampler, row.status, record.reason) == ("autoregressive", status, "a reason")
    assert row.evaluations is row.solved is row.seconds is None


def test_a_model_without_steps_is_unsupported_and_says_why(recall, tmp_path):
    record = record_of(token_cell("next", attention="reformer", layers=2, options={"reversible": True}), recall, tmp_path)  # fmt: skip
    assert [row.status for row in record.samplers] == ["unsupported"]
    assert "a model of reversible layers has no steps" in record.reason


def test_lack_of_memory_is_a_status(recall, tmp_path, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried")

    monkeypatch.setattr(generate, "denoised", full)
    record = record_of(token_cell("masked"), recall, tmp_path)
    assert [row.status for row in record.samplers] == ["oom"]
    assert "out of memory" in record.reason


def test_mistakes_are_one_line(recall, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "config.yaml").write_text(to_yaml(make_cell()))
    with pytest.raises(LRAError, match="labels: predicts labels, so it generates nothing"):
        generate_tokens(folder, recall, tmp_path / "x.json", 4, [1], [], 4)
    for file, given, said in (
        ("config", {}, "generate: models that predict labels generate nothing; remove it"),
        ("ar-quick", {"exmples": 3}, "generate.exmples: unknown key; did you mean 'examples'?"),
        ("ar-quick", {"steps": [2, 2]}, "generate.steps: 2 is listed twice"),
    ):
        with pytest.raises(LRAError) as error:
            arena(file, models=["linear"], generate=given)
        assert said in str(error.value) and "\n" not in str(error.value)


def test_an_experiment_generates_where_it_says_so():
    assert arena(models=["linear"]).generating_models() == []
    assert arena(models=["linear"], generate={}).generating_models() == ["linear"]


def test_what_is_generated_depends_on_the_step_form_and_the_data_s_module(monkeypatch):
    """They are imported by name, so no import of the sampler's leads to them."""
    monkeypatch.setattr(fingerprint, "fingerprint", lambda *roots: fingerprint.modules(*roots))
    read = {
        objective: set(fingerprint.of_generation(token_cell(objective, attention="linear"), "recall"))
        for objective in ("next", "masked")
    }  # fmt: skip
    both = {f"lra.{name}" for name in ("attention.linear", "data.recall", "evaluation.samplers")}
    assert both <= read["next"] & read["masked"]
    assert "lra.attention.steps.sums" in read["next"] - read["masked"]
    assert "lra.attention.steps.gated" not in read["next"]
    assert not {"lra.evaluation.attention_span", "lra.config.schema"} & read["next"]
