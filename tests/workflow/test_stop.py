"""A training that is asked to stop saves its state; one that is killed leaves what tells why."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from lra.training import attempts
from lra.training.checkpoint import Work
from lra.training.loop import train
from lra.training.signals import Stop
from processes import (
    environment,
    finish,
    lra,
    results,
    same,
    start,
    train_arguments,
    wait_for,
)
from tiny import make_cell, slow

SEED = random.SystemRandom().randrange(10**6)
LONGER = {"steps": 600, "eval_every": 100}


@pytest.fixture(scope="module")
def undisturbed(tiny_listops, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    finish(start(make_cell(training=LONGER), tiny_listops, out))
    return out


def stopped(process: subprocess.Popen, work: Path, by: signal.Signals) -> str:
    """What a training says that gets a signal at some time after its first saved state."""
    wait_for(work / "state.pt", process)
    time.sleep(random.Random(SEED).uniform(0, 0.2))
    process.send_signal(by)
    _, said = process.communicate()
    print(f"seed {SEED}: {said}")
    return said


@pytest.mark.parametrize("by", [signal.SIGTERM, *slow([signal.SIGINT, signal.SIGUSR1])])
def test_a_stopped_training_says_so_in_one_line_and_is_resumed_with_the_same_bits(
    undisturbed, tiny_listops, tmp_path, by
):
    cell = make_cell(training=LONGER)
    out = tmp_path / "stopped"
    process = start(cell, tiny_listops, out, save_seconds=0.1)
    said = stopped(process, out / "work", by).splitlines()
    assert process.returncode == 1
    assert len([line for line in said if "steps/s" not in line]) == 1
    step = re.fullmatch(
        rf"lra: .*: stopped by {by.name} at step (\d+) of 600; run again to go on", said[-1]
    )
    assert step
    assert not (out / "train.json").exists()
    assert not (out / "work/attempt.json").exists()
    said = finish(start(cell, tiny_listops, out))
    assert f"resumed at step {step[1]}" in said
    same(undisturbed, out)


class StopInValidation(Stop):
    """The signal comes before the n-th batch of a validation, which draws random numbers."""

    def __init__(self, batches: int = 10**6) -> None:
        super().__init__()
        self.batches = batches

    def check(self) -> None:
        torch.rand(1)  # as a mechanism may; none of ours does
        self.batches -= 1
        if self.batches == 0:
            self.note(signal.SIGTERM, None)
        super().check()


def silent(line: str) -> None:
    pass


@pytest.mark.parametrize("model", ["performer", "transformer"])
@pytest.mark.parametrize("batch", [1, 2, 6, 16], ids="before batch {}".format)
def test_stopped_in_the_midst_of_a_validation_the_bits_are_the_same(
    tiny_listops, tmp_path, model, batch
):
    """Four validations of 4 batches each; the last of them is after the last step."""
    cell = make_cell(model=model, encoder={"attention": model})
    whole = train(
        cell, tiny_listops, Work(tmp_path / "whole", "key", silent), silent, stop=StopInValidation()
    )
    work = Work(tmp_path / "stopped", "key", silent)
    broken = train(cell, tiny_listops, work, silent, stop=StopInValidation(batch))
    assert broken.status == "stopped"
    assert broken.steps == 10 * (1 + (batch - 1) // 4)
    resumed = train(cell, tiny_listops, work, silent, stop=StopInValidation())
    assert resumed.status == "ok"
    assert resumed.weights.keys() == whole.weights.keys()
    assert all(torch.equal(resumed.weights[key], whole.weights[key]) for key in whole.weights)
    one, two = (pd.DataFrame(run.history).drop(columns="seconds") for run in (whole, resumed))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.slow
def test_the_time_limit_in_the_last_attempt_is_a_status_and_more_time_goes_on(
    undisturbed, tiny_listops, tmp_path, monkeypatch
):
    cell = make_cell(training=LONGER)
    out = tmp_path / "stopped"
    monkeypatch.setenv("LRA_LAST_ATTEMPT", "1")
    process = start(cell, tiny_listops, out, save_seconds=0.1)
    said = stopped(process, out / "work", signal.SIGUSR1)
    assert process.returncode == 0, said
    record = json.loads((out / "train.json").read_text())
    assert (record["status"], record["val_accuracy"]) == ("timeout", None)
    assert record["reason"] == f"stopped by SIGUSR1 at step {record['steps']} of 600, its time limit, in the last attempt"  # fmt: skip
    assert 0 < record["steps"] < 600
    done = lra("evaluate", "--cell", out, "--data", tiny_listops, "--work", out / "work")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "score.json").read_text())["status"] == "timeout"
    said = finish(start(cell, tiny_listops, out))
    assert f"resumed at step {record['steps']}" in said
    assert json.loads((out / "train.json").read_text())["status"] == "ok"
    same(undisturbed, out)


def test_a_cancelled_last_attempt_is_no_timeout(tiny_listops, tmp_path, monkeypatch):
    monkeypatch.setenv("LRA_LAST_ATTEMPT", "1")
    process = start(make_cell(training=LONGER), tiny_listops, tmp_path / "out", save_seconds=0.1)
    stopped(process, tmp_path / "out/work", signal.SIGTERM)
    assert process.returncode == 1
    assert not (tmp_path / "out/train.json").exists()


@pytest.mark.slow
def test_a_second_process_waits_for_the_first_and_takes_its_result(tiny_listops, tmp_path):
    cell = make_cell(training=LONGER)
    first = start(cell, tiny_listops, tmp_path / "out", save_seconds=0.1)
    wait_for(tmp_path / "out/work/state.pt", first)
    second = start(cell, tiny_listops, tmp_path / "out")
    finish(first)
    record = (tmp_path / "out/train.json").read_bytes()
    said = finish(second)
    assert "another process is making it" in said
    assert "was trained already; its files are taken" in said
    assert (tmp_path / "out/train.json").read_bytes() == record


def in_shell(cell, data: Path, out: Path, last: bool, before: str = "") -> subprocess.Popen:
    """`lra train` as the rule has it; `before` runs in the shell that starts it."""
    program = f"{sys.executable} -m lra.cli"
    command = (
        f"{before} {program} {shlex.join(train_arguments(cell, data, out))} --save-seconds 0.1"
        f" || {program} killed {out}/work $?"
    )
    own = {**environment(), "LRA_LAST_ATTEMPT": str(int(last))}
    return subprocess.Popen(["bash", "-c", command], env=own, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_kill_that_memory_did_not_cause_is_not_called_so(tiny_listops, tmp_path):
    out = tmp_path / "out"
    shell = in_shell(make_cell(training=LONGER), tiny_listops, out, last=True)
    wait_for(out / "work/state.pt", shell)
    children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = shell.communicate()
    assert shell.returncode == 137
    assert said.splitlines()[-1].startswith("lra: ")
    assert said.splitlines()[-1].endswith("killed, nothing says by whom; run again to go on")
    assert not (out / "train.json").exists()


@contextmanager
def memory_limit(megabytes: int):
    """A cgroup of its own; skips where the machine does not let us have one that limits memory."""
    first = Path("/sys/fs/cgroup/memory")
    limit = "memory.limit_in_bytes" if first.exists() else "memory.max"
    group = (first if first.exists() else Path("/sys/fs/cgroup")) / f"lra_test_{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        if not (group / limit).exists():
            pytest.skip("the memory controller is not available here")
        (group / limit).write_text(str(megabytes * 2**20))
        yield group
    finally:
        group.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("last", [True, False])
def test_a_kill_of_the_kernel_for_lack_of_memory(tiny_listops, tmp_path, last):
    """In the last attempt it is a status; before, it is said and the attempt has failed."""
    sizes = {"dim": 1024, "qkv_dim": 1024, "mlp_dim": 8192, "layers": 4}
    out = tmp_path / "out"
    with memory_limit(700) as group:
        before = f"echo $$ > {group}/cgroup.procs;"
        shell = in_shell(make_cell(encoder=sizes), tiny_listops, out, last, before)
        _, said = shell.communicate()
    assert "killed by the kernel for lack of memory" in said
    if not last:
        assert shell.returncode == 137
        assert not (out / "train.json").exists()
        return
    assert shell.returncode == 0, said
    record = json.loads((out / "train.json").read_text())
    assert record["status"] == "oom"
    assert "oom_kill of its cgroup rose from 0 to 1" in record["reason"]
    assert results(out)[1].empty


@pytest.mark.parametrize(
    ("own", "file"),
    [
        ("4:memory:/job/step\n3:cpu,cpuacct:/\n0::/\n", "memory/job/step/memory.oom_control"),
        ("0::/job/step\n", "job/step/memory.events"),
        ("0::/../outside\n", "memory.events"),
    ],
    ids=["version 1", "version 2", "in a container"],
)
def test_the_kernels_count_is_read(tmp_path, monkeypatch, own, file):
    (tmp_path / "self").write_text(own)
    monkeypatch.setattr(attempts, "OWN_CGROUP", tmp_path / "self")
    monkeypatch.setattr(attempts, "CGROUPS", tmp_path / "mount")
    assert attempts.oom_kills() is None
    (tmp_path / "mount" / file).parent.mkdir(parents=True)
    (tmp_path / "mount" / file).write_text("low 0\noom 4\noom_kill 3\n")
    assert attempts.oom_kills() == 3


def signal_training(checkout, run: subprocess.Popen, after: int) -> None:
    """SIGUSR1 to every process of the training's job, as a scheduler does, once `after` came."""
    attempt = checkout.folder / "results/tiny/work/listops/linear/seed1/attempt.json"
    while wait_for(attempt, run) <= after:
        time.sleep(0.02)
    for job in psutil.Process(run.pid).children(recursive=True):
        job.send_signal(signal.SIGUSR1)


@pytest.mark.slow
def test_the_time_limit_in_every_retry_is_a_row_and_more_time_finishes_it(checkout):
    """The whole job is signalled, its shell and tee too; the first attempt fails and is retried."""
    checkout.forget_tables()
    asked = ["--configfile", "config/tiny.yaml", "--cores", "1", "--config", "models=[linear]",
             "tasks=[listops]", "seeds=[1]", "overrides={training: {steps: 1000, eval_every: 250}}"]  # fmt: skip
    table = "results/tiny/tables/accuracy.md"
    command = [sys.executable, "-m", "snakemake", table, "--retries", "1", *asked]
    log = checkout.folder / "stopped.log"
    with log.open("w") as said:
        run = subprocess.Popen(command, cwd=checkout.folder, stdout=said, stderr=said)
        began = 0
        for _ in range(2):
            signal_training(checkout, run, began)
            began = time.time_ns()
        assert run.wait() == 0, log.read_text()
    record = checkout.folder / "results/tiny/cells/listops/linear/seed1/train.json"
    assert json.loads(record.read_text())["status"] == "timeout"
    said = log.read_text()
    assert re.search(r"stopped by SIGUSR1 at step [\d,]+ of 1,000; run again to go on", said)
    assert "resumed at step" in said
    assert "timeout" in (checkout.folder / table).read_text()
    line = re.search(r"listops/linear/seed1  timeout: .*\n    snakemake (.*)", said)[1]
    again = checkout.snakemake(*shlex.split(line))
    assert again.returncode == 0, again.stdout
    assert "resumed at step" in again.stdout
    assert "All 1 cells are ok." in again.stdout
    assert "timeout" not in (checkout.folder / table).read_text()
