"""Two processes that would make the same thing: one waits, or is told; a killed one leaves no lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import warm
from checkout import Checkout
from lra.data.manifest import verify
from processes import environment, wait_for
from tiny import SMALL_LISTOPS

RECIPE = {"source": "listops", "options": SMALL_LISTOPS, "train": 20_000, "val": 100, "test": 100,
          "seed": 0}  # fmt: skip


def generate(out: Path, python: str, **changed) -> subprocess.Popen:
    command = [python, "-m", "lra.cli", "generate", "--dataset",
               json.dumps({**RECIPE, **changed}), "--out", str(out)]  # fmt: skip
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)


def wait_for_word(word: str, log: Path, process: subprocess.Popen) -> None:
    while word not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("seed", [0, 1], ids=["the same", "another recipe"])
def test_a_second_generator_waits_and_takes_the_same_data_only(tmp_path, seed):
    """Through a link, as of two folders that share their data."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    out = tmp_path / "shared/listops"
    first = generate(out, sys.executable)
    wait_for(out / "train.arrow.partial", first)
    first.send_signal(signal.SIGSTOP)  # until the second has come, on a machine of any speed
    second = generate(tmp_path / "link/listops", warm.python(), seed=seed)
    assert "another process is making it" in second.stderr.readline()
    first.send_signal(signal.SIGCONT)
    (_, one), (_, two) = first.communicate(), second.communicate()
    assert (first.returncode, second.returncode) == (0, 0), one + two
    assert ("is there already" in two) == (seed == 0)
    for split in ("train", "val", "test"):
        verify(out / f"{split}.arrow")
    manifest = json.loads((out / "dataset.json").read_text())
    assert manifest["info"]["generator"]["seed"] == seed


@pytest.mark.slow
def test_two_folders_that_share_their_data_make_it_once_and_do_not_tear_it(tmp_path):
    """Both plan to make it; the second's job comes while the first's runs, then when all is there."""
    data = "results/data/listops-tiny/dataset.json"
    (tmp_path / "shared").mkdir()
    checkouts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        checkouts.append(Checkout(tmp_path / name))
        (tmp_path / name / "results/data").symlink_to(tmp_path / "shared")
        checkouts[-1].edit("config/datasets.yaml", "train: 400\n", "train: 20000\n")
    asked = ["--configfile", "config/tiny.yaml", "--cores", "1", data]
    runs = []
    for checkout, python in zip(checkouts, (sys.executable, warm.python()), strict=True):
        command = [python, "-m", "snakemake", *asked]
        log = (checkout.folder / "run.log").open("w")
        runs.append(subprocess.Popen(command, cwd=checkout.folder, stdout=log, stderr=log))
        log.close()
        if len(runs) == 1:
            wait_for(tmp_path / "shared/listops-tiny/train.arrow.partial", runs[0])
            makers = [p for p in psutil.Process(runs[0].pid).children(recursive=True)
                      if "generate" in p.cmdline()]  # fmt: skip
            for maker in makers:
                maker.suspend()
    wait_for_word("another process is making it", checkouts[1].folder / "run.log", runs[1])
    for maker in makers:
        maker.resume()
    assert [run.wait() for run in runs] == [0, 0]
    assert "is there already" in (checkouts[1].folder / "run.log").read_text()
    made = {path.name: path.stat().st_ino for path in (tmp_path / "shared/listops-tiny").iterdir()}
    assert checkouts[1].snakemake(*asked, "--forcerun", data).returncode == 0
    for split in ("train", "val", "test"):
        path = tmp_path / f"shared/listops-tiny/{split}.arrow"
        verify(path)
        assert path.stat().st_ino == made[path.name]  # not removed, not even for a moment


@pytest.mark.slow
def test_the_second_snakemake_is_told_and_a_killed_one_leaves_no_lock(checkout):
    asked = ["--configfile", "config/tiny.yaml", "--cores", "1", "--config", "models=[linear]",
             "tasks=[listops]", "seeds=[1]", "overrides={training: {steps: 500, eval_every: 250}}"]  # fmt: skip
    command = [sys.executable, "-m", "snakemake", "cells", *asked]
    environment = {**os.environ, "NO_COLOR": "1", "LRA_SAVE_SECONDS": "0"}
    with (checkout.folder / "first.log").open("w") as log:
        first = subprocess.Popen(
            command, cwd=checkout.folder, env=environment, stdout=log, stderr=log
        )
    wait_for(checkout.folder / "results/tiny/work/listops/linear/seed1/state.pt", first)
    jobs = psutil.Process(first.pid).children(recursive=True)
    for job in jobs:  # until the second has come, on a machine of any speed
        job.suspend()
    second = checkout.snakemake("cells", *asked)
    assert second.returncode != 0
    said = [line for line in second.stdout.splitlines() if line.startswith("lra: ")]
    assert len(said) == 1
    assert f"snakemake is running here already (process {first.pid} on " in said[0]
    assert checkout.snakemake("-n", "cells", *asked).returncode == 0
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    for job in jobs:
        job.resume()
    third = checkout.snakemake("cells", *asked)  # waits for the training that was left alone
    assert third.returncode == 0, third.stdout
    record = checkout.folder / "results/tiny/cells/listops/linear/seed1/train.json"
    assert json.loads(record.read_text())["steps"] == 500
    assert "All 1 cells are ok." in third.stdout
