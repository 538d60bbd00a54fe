"""The same cell twice, and a cell killed and resumed, give the same bits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from processes import finish, results, same, start, wait_for
from tiny import make_cell, slow

SEED = random.SystemRandom().randrange(10**6)


# without state, and with what must be saved: redrawn features, centroids, hashes, an auxiliary loss;
# tests/numerics/test_attention.py resumes every mechanism's layer
@pytest.mark.parametrize(
    "model", ["transformer", *slow(["performer", "routing", "reformer", "compressive"])]
)
def test_killed_at_random_steps_and_resumed_the_bits_are_the_same(tiny_listops, tmp_path, model):
    cell = make_cell(
        model=model, encoder={"attention": model}, training={"steps": 300, "eval_every": 50}
    )
    undisturbed = start(cell, tiny_listops, tmp_path / "undisturbed")
    finish(undisturbed)
    chance = random.Random(SEED)
    print(f"kills from seed {SEED}")
    state = tmp_path / "killed/work/state.pt"
    for _ in range(2):
        process = start(cell, tiny_listops, tmp_path / "killed", save_seconds=0.0)
        for _ in range(chance.randrange(1, 5)):  # it saves every step, of which some are seen
            seen = wait_for(state, process)
            while wait_for(state, process) == seen:
                time.sleep(0.003)
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.wait()
        process.stderr.close()
        assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
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


def suspended_with(state: Path, jobs: list[psutil.Process]) -> None:
    """Between two saves: a save renames the newest state before it writes the next."""
    while True:
        for job in jobs:
            job.suspend()
        if state.exists():
            return
        for job in jobs:
            job.resume()
        time.sleep(0.003)


@pytest.mark.slow
def test_a_killed_job_leaves_the_rest_and_is_resumed_by_the_next_snakemake(checkout):
    """The training is killed as a cluster would: without warning, snakemake left alive."""
    checkout.forget_tables()
    arguments = ["results/tiny/tables/accuracy.md", "--configfile", "config/tiny.yaml", "--cores", "2", "--config",
                 "models=[linear]", "tasks=[listops]", "seeds=[1]",
                 "overrides={training: {steps: 300, eval_every: 100}}"]  # fmt: skip
    command = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "LRA_SAVE_SECONDS": "0"}
    with (checkout.folder / "killed.log").open("w") as log:
        run = subprocess.Popen(
            command, cwd=checkout.folder, env=environment, stdout=log, stderr=log
        )
        state = checkout.folder / "results/tiny/work/listops/linear/seed1/state.pt"
        wait_for(state, run)
        jobs = psutil.Process(run.pid).children(recursive=True)
        suspended_with(state, jobs)
        for job in jobs:
            job.kill()
        assert run.wait() != 0
    cell = checkout.folder / "results/tiny/cells/listops/linear/seed1"
    assert not (cell / "train.json").exists()
    assert state.exists()
    again = checkout.snakemake(*arguments)
    assert again.returncode == 0, again.stdout
    assert "resumed at step" in again.stdout
    assert json.loads((cell / "train.json").read_text())["steps"] == 300
    assert json.loads((cell / "score.json").read_text())["status"] == "ok"
