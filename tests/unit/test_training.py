"""Schedules, checkpoints and unfinished work."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from lra.config.cell import Cell, ProfilePoint, Training, read, to_yaml
from lra.core.errors import LRAError
from lra.evaluation import profile
from lra.hardware import device
from lra.models.classifier import Classifier
from lra.training import loop
from lra.training.checkpoint import Work
from lra.training.loop import train
from lra.training.optimizer import first_beta, learning_rate
from tiny import ROOT, examples, make_cell


def official(**changed) -> Training:
    base = {"steps": 5000, "batch_size": 32, "eval_every": 50, "checkpoint": "last"}
    return Training(**base, **changed)


def test_rsqrt_schedule_is_the_official_one():
    """Its first update has the rate of step 0, so update n has that of step n - 1."""
    rule = official(learning_rate=0.05, schedule="rsqrt", warmup=1000)
    assert learning_rate(rule, 1) == 0
    assert learning_rate(rule, 2) == pytest.approx(0.05 / 1000 / math.sqrt(1000))
    assert learning_rate(rule, 1001) == pytest.approx(1.581e-3, rel=1e-3)  # the published peak
    assert learning_rate(rule, 5000) == pytest.approx(0.05 / math.sqrt(4999))


def test_cosine_schedule_is_the_official_one():
    rule = official(learning_rate=0.001, schedule="cosine", warmup=312, cycle=62_400)
    assert learning_rate(rule, 2) == pytest.approx(0.001 / 312)
    assert learning_rate(rule, 313) == pytest.approx(0.001)
    assert learning_rate(rule, 313 + 31_200) == pytest.approx(0.0005)
    assert learning_rate(rule, 62_401) == pytest.approx(0.0005 * (1 + math.cos(math.pi * 0.995)))


@pytest.mark.parametrize(("steps", "warmup"), [(100, 20), (700, 5), (500, 200)])
def test_onecycle_is_torchs(steps, warmup):
    """Rate and first beta of every update, against torch.optim.lr_scheduler.OneCycleLR."""
    rule = official(learning_rate=1e-4, schedule="onecycle", warmup=warmup).model_copy(
        update={"steps": steps}
    )
    theirs = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        theirs, max_lr=1e-4, pct_start=warmup / steps, anneal_strategy="linear", total_steps=steps
    )
    group = theirs.param_groups[0]
    for update in range(1, steps + 1):
        assert learning_rate(rule, update) == pytest.approx(group["lr"], rel=1e-9, abs=1e-15)
        assert first_beta(rule, update) == pytest.approx(group["betas"][0], rel=1e-9)
        theirs.step()
        if update < steps:
            schedule.step()


def test_linear_decay_is_megas():
    """fairseq/optim/lr_scheduler/linear_decay_schedule.py there, at aeaa4b4, its `step_update`."""
    rule = official(learning_rate=0.01, schedule="linear", warmup=100)
    rates = [learning_rate(rule, step) for step in range(1, 5001)]
    theirs = [0.01 * n / 100 if n <= 100 else 0.01 / 4900 * (5000 - n) for n in range(5000)]
    assert rates == pytest.approx(theirs, rel=1e-12, abs=1e-15)
    assert learning_rate(rule.model_copy(update={"warmup": 9000}), 5000) > 0  # all is warm-up


def test_other_schedules_keep_their_first_beta():
    rule = official(learning_rate=1e-4, schedule="cosine", warmup=10)
    assert first_beta(rule, 1) == first_beta(rule, 4000) == 0.9


def test_a_cell_reads_back_from_its_yaml(tmp_path):
    cell = make_cell()
    (tmp_path / "config.yaml").write_text(to_yaml(cell))
    assert read(Cell, str(tmp_path / "config.yaml")) == cell
    assert read(Cell, cell.model_dump_json()) == cell


def silent(line):
    pass


def state_of(value):
    return {"model": torch.full((3,), float(value)), "step": value}


def test_work_keeps_the_newest_and_the_one_before(tmp_path):
    work = Work(tmp_path, "key", silent)
    work.save(state_of(1))
    work.save(state_of(2))
    assert work.load()["step"] == 2


def test_a_corrupt_state_is_set_aside_and_the_one_before_is_used(tmp_path):
    said = []
    work = Work(tmp_path, "key", said.append)
    work.save(state_of(1))
    work.save(state_of(2))
    content = work.newest.read_bytes()
    work.newest.write_bytes(content[: len(content) // 2])
    assert work.load()["step"] == 1
    assert "state.pt: broken" in said[0]
    assert (tmp_path / "state.pt.corrupt").exists()


@examples(60)
@given(data=st.data())
def test_any_damage_of_the_newest_state_is_noticed(data):
    with TemporaryDirectory() as folder:
        said = []
        work = Work(Path(folder), "key", said.append)
        work.save(state_of(1))
        work.save(state_of(2))
        content = bytearray(work.newest.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] ^= data.draw(st.integers(1, 255))
        else:
            del content[place:]
        work.newest.write_bytes(content)
        assert work.load()["step"] == 1
        assert len(said) == 1


def test_two_corrupt_states_begin_anew_and_it_is_said(tmp_path):
    said = []
    work = Work(tmp_path, "key", said.append)
    for step in (1, 2):
        work.save(state_of(step))
    work.newest.write_bytes(b"")
    work.previous.write_bytes(b"torn")
    assert work.load() is None
    assert said[-1] == f"{tmp_path}: what was saved is broken; training starts anew"
    assert len(said) == 3
    work.save(state_of(3))
    assert work.load()["step"] == 3


def test_a_state_of_other_code_or_configuration_is_not_used(tmp_path):
    Work(tmp_path, "key", silent).save(state_of(1))
    assert Work(tmp_path, "another", silent).load() is None


def test_best_and_last_checkpoints_differ_as_the_protocol_says(tiny_listops, tmp_path):
    chosen = {}
    for which in ("best", "last"):
        cell = make_cell(training={"checkpoint": which, "learning_rate": 0.02})
        outcome = train(cell, tiny_listops, Work(tmp_path / which, "key", silent), silent)
        validated = {
            row["step"]: row["accuracy"] for row in outcome.history if row["split"] == "val"
        }
        assert outcome.val_accuracy == validated[outcome.chosen_step]
        chosen[which] = outcome.chosen_step
        if which == "best":
            assert outcome.val_accuracy == max(validated.values())
    assert chosen["last"] == 40


def test_a_loss_that_is_not_finite_is_a_status(tiny_listops, tmp_path):
    cell = make_cell(training={"learning_rate": 1e30})
    outcome = train(cell, tiny_listops, Work(tmp_path, "key", silent), silent)
    assert outcome.status == "diverged"
    assert "not finite by step" in outcome.reason
    assert outcome.weights == {}
    assert outcome.val_accuracy is None


def test_clipping_bounds_the_gradient(tiny_listops, tmp_path):
    slow = make_cell(training={"clip": 1e-12, "steps": 10, "eps": 1.0})
    outcome = train(slow, tiny_listops, Work(tmp_path, "key", silent), silent)
    torch.manual_seed(slow.seed)

    start = Classifier(slow.encoder).state_dict()
    moved = max((outcome.weights[key] - start[key]).abs().max() for key in start)
    assert moved < 1e-6


def test_bfloat16_trains_too(tiny_listops, tmp_path):
    cell = make_cell(training={"precision": "bfloat16"})
    half = train(cell, tiny_listops, Work(tmp_path / "half", "key", silent), silent)
    full = train(make_cell(), tiny_listops, Work(tmp_path / "full", "key", silent), silent)
    assert half.status == "ok"
    assert all(value.dtype == torch.float32 for value in half.weights.values())
    losses = [[row["loss"] for row in run.history] for run in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def point(length, **options) -> ProfilePoint:
    sizes = {"max_len": length, "options": options, "vocab_size": 257, "attention_dropout": 0.0}
    cell = make_cell(encoder=sizes)
    return ProfilePoint(
        experiment="test", protocol="quick", task="text", model="transformer", length=length, batch_size=1, seconds=0.01,
        device="cpu", encoder=cell.encoder,
    )  # fmt: skip


def test_weights_can_be_written_whatever_their_strides(tiny_listops, tmp_path, monkeypatch):
    """A training of days must not end at its checkpoint."""

    class Strided(Classifier):
        def __init__(self, config):
            super().__init__(config)
            self.register_buffer("turned", torch.randn(3, 5).T)

    monkeypatch.setattr(loop, "Classifier", Strided)
    cell = make_cell(training={"steps": 10})
    outcome = train(cell, tiny_listops, Work(tmp_path, "key", silent), silent)
    assert safetensors.torch.load(safetensors.torch.save(outcome.weights)).keys() >= {"turned"}


def test_no_job_imports_the_compiler(tiny_listops, tmp_path):
    """It takes as long as torch itself, in every job."""
    code = """
import sys
from pathlib import Path
from lra.evaluation import job
from lra.training.job import train_cell
from test_training import point
from tiny import make_cell
data, cell = Path(sys.argv[1]), Path("cell")
train_cell(make_cell(), data, cell, Path("work"))
job.score_cell(cell, data, Path("work"))
job.measure_span(cell, data, Path("span.json"), samples=10)
for what in ("speed", "memory"):
    job.measure_point(what, point(64), Path("point.json"), "code")
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""
    env = {"PYTHONPATH": f"{ROOT}/src:{ROOT}/tests:{ROOT}/tests/unit", "PATH": os.environ["PATH"]}
    job = [sys.executable, "-c", code, str(tiny_listops)]
    done = subprocess.run(job, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_too_little_memory_is_a_status():
    length = 2**20  # the scores alone are 8 TiB
    measured = profile.speed(point(length, kernel="materialised"))
    assert measured["status"] == "oom"
    assert "train_steps_per_s" not in measured
    assert measured["reason"]


def test_memory_of_the_materialised_kernel_holds_the_scores():
    length, heads = 1024, 2
    scores = heads * length * length * 4  # bytes of one layer's N x N weights
    fused, materialised = (
        profile.memory(point(length, kernel=kernel))["peak_bytes"]
        for kernel in ("fused", "materialised")
    )
    assert materialised - fused > 2 * scores
    assert fused < scores + 20 * 2**20


def test_memory_grows_with_the_batch_by_the_activations():
    small = point(512)
    large = small.model_copy(update={"batch_size": 4})
    assert 2 < profile.memory(large)["peak_bytes"] / profile.memory(small)["peak_bytes"] < 4.2


def test_a_gpu_that_is_not_there_is_said_so():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(LRAError, match="torch sees no GPU"):
        device.choose_device("cuda")
