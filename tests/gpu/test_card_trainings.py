"""Trainings on the card as jobs of their own: bits, kills, turns, energy, out of memory."""

from __future__ import annotations

import random
import signal
import time
import uuid

import pytest
from card import DEVICE, ON_CARD, needs_card, on_card_or_slow

from lra.hardware import gpu_lock
from lra.results.records import TrainRecord, read_record
from processes import finish, same, start, wait_for
from tiny import make_cell

pytestmark = on_card_or_slow  # tests/workflow/test_kill.py has these on a CPU
SEED = random.SystemRandom().randrange(10**6)
# without state; redrawn features, centroids, hashes, an auxiliary loss; FFTs; a scan
KILLED = ["transformer", "performer", "routing", "reformer", "compressive", "s4d", "mamba2"]


def cell_of(model: str = "transformer", **training):
    return make_cell(
        model=model, device=DEVICE, encoder={"attention": model},
        training={"steps": 300, "eval_every": 50, **training},
    )  # fmt: skip


@needs_card
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", KILLED)
def test_the_same_bits_twice_and_after_a_kill(tiny_listops, tmp_path, model, precision):
    cell = cell_of(model, precision=precision)
    for name in ("one", "two"):
        finish(start(cell, tiny_listops, tmp_path / name))
    same(tmp_path / "one", tmp_path / "two")
    print(f"killed by seed {SEED}")
    job = start(cell, tiny_listops, tmp_path / "killed", save_seconds=0.0)
    wait_for(tmp_path / "killed/work/state.pt", job)
    time.sleep(random.Random(SEED).uniform(0, 0.3))
    job.kill()
    job.communicate()
    assert job.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert "resumed at step" in finish(start(cell, tiny_listops, tmp_path / "killed"))
    same(tmp_path / "one", tmp_path / "killed")


def test_two_jobs_take_turns_on_the_one_card(tiny_listops, tmp_path, monkeypatch):
    """A job writes attempt.json once it has its GPU, and removes it at its end."""
    if not ON_CARD:
        monkeypatch.setenv("LRA_PRETEND_GPUS", f"test-{uuid.uuid4().hex}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpu_lock.devices()[0])
    cell = cell_of().model_copy(update={"device": "auto"})
    first = start(cell, tiny_listops, tmp_path / "one")
    wait_for(tmp_path / "one/work/attempt.json", first)
    second = start(cell, tiny_listops, tmp_path / "two")
    while not (tmp_path / "one/train.json").exists():
        assert not (tmp_path / "two/work/attempt.json").exists(), "it did not wait"
        assert first.poll() in (None, 0)
        time.sleep(0.02)
    finish(first)
    finish(second)
    same(tmp_path / "one", tmp_path / "two")
    if not ON_CARD:
        for file in gpu_lock.lock_files(gpu_lock.devices()[0]):
            file.unlink()


@needs_card
def test_energy_is_the_drivers(tiny_listops, tmp_path, record_property):
    finish(start(cell_of(), tiny_listops, tmp_path))
    record = read_record(tmp_path / "train.json", TrainRecord)
    assert record.gpu is not None and record.gpu.name and record.gpu.memory_bytes > 10**8
    watts = record.energy_joules / record.train_seconds
    record_property("watts_over_the_loop", round(watts))
    assert 10 < watts < 5000  # of the whole process, which is longer than its loop


@needs_card
def test_a_training_that_does_not_fit_has_a_status(tiny_listops, tmp_path):
    """2,000 examples of 64 tokens with 2^18 hidden units each: 134 GB a tensor."""
    cell = make_cell(
        device="cuda", encoder={"mlp_dim": 2**18, "pooling": "CLS"},
        training={"batch_size": 2000, "pad_to": 64},
    )  # fmt: skip
    finish(start(cell, tiny_listops, tmp_path))
    record = read_record(tmp_path / "train.json", TrainRecord)
    assert record.status == "oom" and record.val_accuracy is None
