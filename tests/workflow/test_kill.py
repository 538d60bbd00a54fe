"""The same cell twice, and a cell killed and resumed, give the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tiny import ROOT, make_cell

SEED = random.SystemRandom().randrange(10**6)


def start(cell, data: Path, out: Path, save_seconds: float = 30) -> subprocess.Popen:
    """`lra train` as its own process."""
    command = [
        sys.executable, "-m", "lra.cli", "train", "--cell", cell.model_dump_json(),
        "--data", str(data), "--out", str(out), "--work", str(out / "work"),
        "--save-seconds", str(save_seconds),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> str:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def results(out: Path) -> tuple[bytes, pd.DataFrame]:
    """The checkpoint's bytes, and the history without its clock."""
    history = pd.read_parquet(out / "history.parquet").drop(columns="seconds")
    return (out / "checkpoint.safetensors").read_bytes(), history


def same(one: Path, two: Path) -> None:
    (bytes_one, history_one), (bytes_two, history_two) = results(one), results(two)
    assert bytes_one == bytes_two
    pd.testing.assert_frame_equal(history_one, history_two, check_exact=True)


# without state, and with what must be saved: redrawn features, centroids, hashes, an auxiliary loss;
# tests/numerics/test_attention.py resumes every mechanism's layer
@pytest.mark.parametrize(
    "model", ["transformer", "performer", "routing", "reformer", "compressive"]
)
def test_killed_at_random_steps_and_resumed_the_bits_are_the_same(tiny_listops, tmp_path, model):
    cell = make_cell(model=model, encoder={"attention": model}, training={"steps": 400})
    undisturbed = start(cell, tiny_listops, tmp_path / "undisturbed")
    finish(undisturbed)
    chance = random.Random(SEED)
    print(f"kill times from seed {SEED}")
    kills = 0
    for _ in range(2):
        process = start(cell, tiny_listops, tmp_path / "killed", save_seconds=0.0)
        state = tmp_path / "killed/work/state.pt"
        while process.poll() is None and not state.exists():
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        kills += process.returncode == -signal.SIGKILL
    assert kills, "the training ended before it could be killed"
    assert not (tmp_path / "killed/train.json").exists()
    said = finish(start(cell, tiny_listops, tmp_path / "killed"))
    assert "resumed at step" in said
    same(tmp_path / "undisturbed", tmp_path / "killed")
    assert not (tmp_path / "killed/work").exists()


def test_the_same_cell_twice_gives_the_same_bits_and_another_seed_others(tiny_listops, tmp_path):
    runs = {"one": make_cell(), "two": make_cell(), "other": make_cell(seed=2)}
    for name, cell in runs.items():
        finish(start(cell, tiny_listops, tmp_path / name))
    same(tmp_path / "one", tmp_path / "two")
    assert results(tmp_path / "one")[0] != results(tmp_path / "other")[0]


def test_a_killed_job_leaves_the_rest_and_is_resumed_by_the_next_snakemake(checkout):
    """The training is killed as a cluster would: without warning, snakemake left alive."""
    longer = "overrides={training: {steps: 3000}}"
    arguments = ["--configfile", "config/tiny.yaml", "--cores", "2", "--config", "models=[linear]",
                 "tasks=[listops]", "seeds=[1]", longer]  # fmt: skip
    command = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "LRA_SAVE_SECONDS": "0.2"}
    with (checkout.folder / "killed.log").open("w") as log:
        run = subprocess.Popen(
            command, cwd=checkout.folder, env=environment, stdout=log, stderr=log
        )
        state = checkout.folder / "results/tiny/work/listops/linear/seed1/state.pt"
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert state.exists(), (checkout.folder / "killed.log").read_text()
        for job in psutil.Process(run.pid).children(recursive=True):
            job.kill()
        assert run.wait(timeout=120) != 0
    cell = checkout.folder / "results/tiny/cells/listops/linear/seed1"
    assert not (cell / "train.json").exists()
    assert state.exists()
    again = checkout.snakemake(*arguments)
    assert again.returncode == 0, again.stdout
    assert "resumed at step" in again.stdout
    assert (cell / "score.json").exists()
