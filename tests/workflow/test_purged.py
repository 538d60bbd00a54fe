"""Files of a finished experiment go, as a purged scratch takes them: they are made again or named."""

from __future__ import annotations

import os
import re
import subprocess
import time

import pytest

import warm
from checkout import commit_all

CELL = "results/tiny/cells/listops/linear/seed1"
OTHER = "results/tiny/cells/pathfinder/local/seed2"


def remove(checkout, *names: str) -> None:
    for name in names:
        (checkout.folder / name).unlink()


def lra(checkout, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [warm.python(), "-m", "lra.cli", *arguments], cwd=checkout.folder, text=True,
        env={**os.environ, "PYTHONPATH": "src"}, capture_output=True,
    )  # fmt: skip


@pytest.mark.parametrize(("gone", "jobs"), [
    ([f"{CELL}/history.parquet"], {"train listops/linear/seed1"}),
    ([f"{CELL}/config.yaml"], {"train listops/linear/seed1"}),
    ([f"{OTHER}/score.json", f"{CELL}/predictions.parquet"],
     {"evaluate pathfinder/local/seed2", "evaluate listops/linear/seed1"}),
    (["results/tiny/profile/speed/linear/32.json", "results/tiny/span/listops/local/seed1.json",
      "results/tiny/baselines/listops.json", "results/tiny/memory.parquet"],
     {"speed and memory of linear", "span listops/local/seed1", "baselines of listops",
      "collect memory"}),
], ids=["history", "config", "scores", "records"])  # fmt: skip
def test_what_an_archive_needs_is_made_again(checkout, gone, jobs):
    remove(checkout, *gone)
    planned = checkout.plan()
    assert jobs <= planned
    assert {job for job in planned if job.startswith("train")} == {
        job for job in jobs if job.startswith("train")
    }


@pytest.mark.slow
def test_a_purged_cell_is_not_said_to_run_and_is_trained_again(checkout):
    remove(
        checkout, *(f"{CELL}/{n}" for n in ("train.json", "checkpoint.safetensors", "config.yaml"))
    )
    said = lra(checkout, "status", "--configfile", "config/tiny.yaml").stdout
    assert f"waiting  listops/linear/seed1  {CELL}/train.json is missing" in said
    assert not re.search("^running", said, re.MULTILINE)
    checkout.run()
    assert (checkout.folder / CELL / "checkpoint.safetensors").exists()
    assert "Nothing to be done" in checkout.run("-n")


def test_a_checkpoint_that_is_gone_is_named_with_what_to_type(checkout):
    names = [f"{CELL}/checkpoint.safetensors", f"{OTHER}/checkpoint.safetensors"]
    remove(checkout, *names)
    said = checkout.run()
    assert "Nothing to be done" in said
    assert f"lra: {names[0]} and 1 more: missing" in said
    trained = {job for job in checkout.plan("checkpoints") if job.startswith("train")}
    assert trained == {"train listops/linear/seed1", "train pathfinder/local/seed2"}
    commit_all(checkout.folder)  # an archive is of a commit
    env = {"LRA_ARCHIVE_CHECKPOINTS": "1"}
    done = checkout.snakemake("--configfile", "config/tiny.yaml", "-n", "archive", env=env)
    assert set(re.findall(r"^Job \d+: (train .*)$", done.stdout, re.MULTILINE)) == trained


def test_a_data_sets_checksums_can_be_made_again_without_training(checkout):
    manifest = "results/data/listops-tiny/dataset.json"
    remove(checkout, manifest)
    said = checkout.run("-n")
    command = f"snakemake --cores all {manifest}"
    assert f"lra: {manifest}: is missing" in said
    assert said.count(command) == 1
    checkout.run(*command.split()[3:])
    assert "Nothing to be done" in checkout.run("-n")


def test_data_of_the_future_stop_the_plan_and_a_training_at_once(checkout):
    data = "results/data/listops-tiny/val.arrow"
    later = time.time() + 3600
    os.utime(checkout.folder / data, (later, later))
    done = checkout.snakemake("-n", "--configfile", "config/tiny.yaml")
    assert done.returncode != 0
    line = done.stdout.splitlines()[-1]
    assert line.startswith(f"lra: {data}: its modification time, ")
    assert line.endswith(f"is in the future; set the clock, or: touch {data}")
    trained = lra(checkout, "train", "--cell", f"{CELL}/config.yaml", "--data",
                  "results/data/listops-tiny", "--out", "out", "--work", "work")  # fmt: skip
    assert trained.returncode == 1
    assert trained.stderr.startswith(f"lra: {data}: its modification time, ")
    assert trained.stderr.count("\n") == 1
    os.utime(checkout.folder / data)
    assert "Nothing to be done" in checkout.run("-n")


def test_a_short_plan_keeps_its_end(checkout):
    out = checkout.run("-n", "--quiet", "rules", "--config", "seeds=[1, 2, 3]")
    assert "Estimate of the cells to train" in out
    assert "Job 1: " not in out and len(out.splitlines()) < 80
