"""A training that is cut short on a real Slurm goes on where it saved, and ends with the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("slurm")  # one Slurm on a host


def running(slurm, remote) -> str:
    """The id of the Slurm job that trains, once it has saved a state."""
    slurm.wait(remote.state.exists, 90)
    found = [job for job, rule in slurm.jobs("RUNNING").items() if "rule_train" in rule]
    assert len(found) == 1, found
    return found[0]


def pid_of_training(remote) -> int:
    """Of `lra train` in this checkout."""
    work = str(remote.state.parent.relative_to(remote.folder))
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            here = (process / "cwd").readlink() == remote.folder
        except OSError:  # it has just ended
            continue
        if here and "train" in words[1:3] and work in words:
            return int(process.name)
    raise AssertionError("no training runs")


def resumed_with_the_same_bits(remote, undisturbed) -> None:
    assert "resumed at step" in remote.said_by_training
    assert remote.checkpoint == undisturbed.checkpoint
    assert not remote.state.parent.exists()


def test_scancel_is_retried(slurm, remote, undisturbed):
    run = remote.train()
    slurm.ask("scancel", running(slurm, remote))
    assert "Trying to restart" in remote.finish(run)
    resumed_with_the_same_bits(remote, undisturbed)


def test_kill_9_of_the_training_is_retried(slurm, remote, undisturbed):
    run = remote.train()
    running(slurm, remote)
    os.kill(pid_of_training(remote), signal.SIGKILL)
    assert "Trying to restart" in remote.finish(run)
    logs = [path.read_text() for path in remote.folder.glob("results/slurm/**/*.log")]
    assert not any("output files are missing" in text for text in logs)  # it failed, and at once
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_job_cancelled_in_every_attempt_goes_on_at_the_next_snakemake(slurm, remote, undisturbed):
    run = remote.train("--retries", "0")
    slurm.ask("scancel", running(slurm, remote))
    remote.finish(run, 1)
    remote.finish(remote.train())
    resumed_with_the_same_bits(remote, undisturbed)


def test_kill_9_of_snakemake_leaves_no_second_training_behind(slurm, remote, undisturbed):
    run = remote.train()
    orphan = running(slurm, remote)
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
    job = running(slurm, remote)
    slurm.kill_controller()
    slurm.start_controller()
    slurm.wait(lambda: slurm.show(job)["JobState"] == "COMPLETED", 90)
    assert remote.checkpoint == undisturbed.checkpoint
    run.kill()
    run.wait()
    remote.finish(remote.train())
    assert remote.checkpoint == undisturbed.checkpoint


def stopped_clock(slurm, remote, **site) -> tuple[subprocess.Popen, str]:
    """snakemake and its job of a minute, whose training stands still.

    Slurm looks at its limits every 30 s, and signals 30 s too early rather than too late: with
    `early_seconds` of 1 in the second half of that minute, when the training has long begun.
    """
    remote.site(max_hours=1 / 60, **site)
    run = remote.train("--retries", "0")
    job = running(slurm, remote)
    assert slurm.show(job)["TimeLimit"] == "00:01:00"
    os.kill(pid_of_training(remote), signal.SIGSTOP)
    return run, job


def test_a_training_told_of_its_time_limit_in_the_last_attempt_is_a_status(
    slurm, remote, undisturbed
):
    run, job = stopped_clock(slurm, remote, early_seconds=1)
    said = remote.finish(run)  # Slurm wakes what it signals
    assert slurm.show(job)["JobState"] == "COMPLETED"
    record = json.loads(remote.record.read_text())
    assert record["status"] == "timeout"
    assert "listops/linear/seed1  timeout: stopped by SIGUSR1" in said
    remote.site()
    remote.finish(remote.train("--forcerun", remote.record_name))  # as the summary says
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_time_limit_reached_is_gone_on_from(slurm, remote, undisturbed):
    run, job = stopped_clock(slurm, remote, early_seconds=0)
    remote.finish(run, 1)
    assert slurm.show(job)["JobState"] == "TIMEOUT"
    remote.site()
    remote.finish(remote.train())
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_drained_node_ends_its_job_and_takes_no_other(slurm, remote, undisturbed):
    run = remote.train()
    job = running(slurm, remote)
    node = slurm.show(job)["NodeList"]
    slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.ask("scancel", job)
    remote.finish(run)
    last = max(slurm.jobs(), key=int)
    assert slurm.show(last)["NodeList"] != node
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_preempted_job_is_requeued_by_slurm_and_goes_on(slurm, remote, undisturbed):
    run = remote.train("--retries", "0")  # Slurm's requeue is no attempt
    job = running(slurm, remote)
    urgent = []
    for _ in range(2):
        command = ["sbatch", "--parsable", "--partition=high", "--exclusive", "--output=/dev/null",
                   "--wrap=sleep 600"]  # fmt: skip
        urgent.append(slurm.ask(*command).strip())
    slurm.wait(lambda: slurm.show(job)["JobState"] != "RUNNING", 60)
    assert remote.is_saved
    slurm.ask("scancel", *urgent)
    # it waits two minutes of its own accord
    slurm.wait(lambda: slurm.show(job)["JobState"] == "PENDING", 60)
    slurm.ask("scontrol", "release", job, check=False)
    slurm.ask("scontrol", "update", f"jobid={job}", "starttime=now")
    remote.finish(run)
    assert slurm.show(job)["Restarts"] == "1"
    resumed_with_the_same_bits(remote, undisturbed)
