"""A training that is cut short on a real Slurm goes on where it saved, and ends with the same bits."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from remote import LONG
from slurm import limits_memory


def halted(slurm, remote, after: int = 0) -> tuple[str, int]:
    """The Slurm job that trains and its training's pid, which stands still once it has saved a state.

    So no test depends on this machine's speed. Where it is not woken, Slurm kills it after KillWait.
    `after`: the time in ns of what ended the training before, whose state is there.
    """
    slurm.wait(lambda: remote.saved_at > after)
    pid = remote.pid_of_training("seed1")
    os.kill(pid, signal.SIGSTOP)
    found = [job for job, rule in slurm.jobs("RUNNING").items() if "rule_train" in rule]
    assert len(found) == 1, found
    return found[0], pid


def resumed_with_the_same_bits(remote, undisturbed) -> None:
    assert "resumed at step" in remote.said_by_training
    assert remote.checkpoint == undisturbed.checkpoint
    assert not remote.state.parent.exists()


def test_a_drained_node_and_then_kill_9_of_the_training_are_retried(slurm, remote, undisturbed):
    """Slurm lets a job there run on; who drains a node for work on it cancels what is there."""
    run = remote.train()
    cancelled, _ = halted(slurm, remote)
    node = slurm.show(cancelled)["NodeList"]
    slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.ask("scancel", cancelled)
    slurm.wait(lambda: slurm.show(cancelled)["JobState"] == "CANCELLED")
    killed, pid = halted(slurm, remote, time.time_ns())
    assert slurm.show(killed)["NodeList"] != node
    os.kill(pid, signal.SIGKILL)
    assert remote.finish(run).count("Trying to restart") == 2
    logs = [path.read_text() for path in remote.folder.glob("results/slurm/**/*.log")]
    assert not any("output files are missing" in text for text in logs)  # it failed, and at once
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_time_limit_a_cancelled_job_and_kill_9_of_snakemake_are_gone_on_from(
    slurm, remote, undisturbed
):
    """One after the other, each without a retry and each by the next snakemake."""
    remote.site(early_seconds=0)
    run = remote.train("--retries", "0")
    timed_out, pid = halted(slurm, remote)
    end_in(slurm, timed_out, 1)
    wake(slurm, pid, signal.SIGTERM)
    remote.finish(run, 1)
    assert "stopped by SIGTERM at step" in remote.said_by_training
    assert slurm.show(timed_out)["JobState"] == "TIMEOUT"
    remote.site()

    after, run = time.time_ns(), remote.train("--retries", "0")
    cancelled, pid = halted(slurm, remote, after)
    assert "resumed at step" in remote.said_by_training
    slurm.ask("scancel", cancelled)
    wake(slurm, pid, signal.SIGTERM)
    remote.finish(run, 1)
    assert "stopped by SIGTERM at step" in remote.said_by_training

    after, run = time.time_ns(), remote.train()
    orphan, _ = halted(slurm, remote, after)
    assert "resumed at step" in remote.said_by_training
    run.kill()
    run.wait()
    assert slurm.show(orphan)["JobState"] == "RUNNING"
    said = remote.finish(remote.train())
    assert f"cancelling jobs that an earlier run left in the queue: {orphan}" in said
    assert slurm.show(orphan)["JobState"] == "CANCELLED"
    resumed_with_the_same_bits(remote, undisturbed)


def test_kill_9_of_slurmctld_stops_no_training(slurm, remote, undisturbed):
    """The executor (2.8.0) forgets its jobs when its question fails, and would wait for ever."""
    run = remote.train()
    job, pid = halted(slurm, remote)
    slurm.kill_controller()
    os.kill(pid, signal.SIGCONT)
    slurm.start_controller()
    slurm.wait(lambda: slurm.show(job)["JobState"] == "COMPLETED")
    assert remote.checkpoint == undisturbed.checkpoint
    run.kill()
    run.wait()
    remote.finish(remote.train())
    assert remote.checkpoint == undisturbed.checkpoint


def wake(slurm, pid: int, signum: int) -> None:
    """Once a signal has come to a training that stands still; Slurm may have woken it itself."""

    def has_come() -> bool:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            return True
        return bool(int(re.search(r"ShdPnd:\s*(\w+)", status)[1], 16) >> (signum - 1) & 1)

    slurm.wait(has_come)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def end_in(slurm, job: str, seconds: int) -> None:
    """Move a job's end. A time limit is in minutes, and Slurm looks every 30 s at what has ended."""
    end = datetime.now() + timedelta(seconds=seconds)
    slurm.ask("scontrol", "update", f"jobid={job}", f"endtime={end:%Y-%m-%dT%H:%M:%S}")


def test_a_training_told_of_its_time_limit_in_the_last_attempt_is_a_status(
    slurm, remote, undisturbed
):
    remote.site(early_seconds=30)
    run = remote.train("--retries", "0")
    job, pid = halted(slurm, remote)
    end_in(slurm, job, 59)  # the signal comes at Slurm's next look, the end at the one after it
    wake(slurm, pid, signal.SIGUSR1)
    said = remote.finish(run)
    assert slurm.show(job)["JobState"] == "COMPLETED"
    record = json.loads(remote.record.read_text())
    assert record["status"] == "timeout"
    assert "listops/linear/seed1  timeout: stopped by SIGUSR1" in said
    remote.site()
    line = re.search(r"linear/seed1  timeout: .*\n +snakemake (.*)", said)[1]
    remote.finish(remote.snakemake_in_background(shlex.split(line)))
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_preempted_job_is_requeued_by_slurm_and_goes_on(slurm, remote, undisturbed):
    run = remote.train("--retries", "0")  # Slurm's requeue is no attempt
    job, _ = halted(slurm, remote)
    urgent = []
    for _ in range(2):
        command = ["sbatch", "--parsable", "--partition=high", "--exclusive", "--output=/dev/null",
                   "--wrap=sleep 600"]  # fmt: skip
        urgent.append(slurm.ask(*command).strip())
    slurm.wait(lambda: slurm.show(job)["JobState"] != "RUNNING")
    assert remote.is_saved
    slurm.ask("scancel", *urgent)
    # it waits two minutes of its own accord
    slurm.wait(lambda: slurm.show(job)["JobState"] == "PENDING")
    slurm.ask("scontrol", "release", job, check=False)
    slurm.ask("scontrol", "update", f"jobid={job}", "starttime=now")
    remote.finish(run)
    assert slurm.show(job)["Restarts"] == "1"
    resumed_with_the_same_bits(remote, undisturbed)


@pytest.mark.skipif(not limits_memory(), reason="no memory cgroup of version 1 can be made here")
def test_a_kill_for_lack_of_memory_in_every_attempt_is_a_status(slurm, remote):
    """Slurm fails the attempt that says so, too; the next one takes what that has found."""
    remote.site(max_memory_gb=0.7)
    large = {"dim": 1024, "qkv_dim": 1024, "mlp_dim": 8192, "layers": 4}
    config = [*LONG[:4], f"overrides={{encoder: {json.dumps(large)}}}"]
    before = set(slurm.jobs())
    targets = [remote.record_name]
    said = remote.finish(remote.start("--retries", "1", targets=targets, config=config))
    trained = set(slurm.jobs()) - before
    states = [slurm.show(job)["JobState"] for job in sorted(trained, key=int)]
    assert states in (["FAILED", "COMPLETED"], ["OUT_OF_MEMORY", "COMPLETED"])
    assert json.loads(remote.record.read_text())["status"] == "oom"
    assert "linear/seed1  oom: killed by the kernel for lack of memory" in said
