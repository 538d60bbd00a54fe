"""A training that is cut short on a real Slurm goes on where it saved, and ends with the same bits."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from remote import LONG
from slurm import limits_memory


def halted(slurm, remote) -> tuple[str, int]:
    """The Slurm job that trains and its training's pid, which stands still once it has saved a state.

    So no test depends on this machine's speed. Where it is not woken, Slurm kills it after KillWait.
    """
    slurm.wait(remote.state.exists)
    pid = remote.pid_of_training("seed1")
    os.kill(pid, signal.SIGSTOP)
    found = [job for job, rule in slurm.jobs("RUNNING").items() if "rule_train" in rule]
    assert len(found) == 1, found
    return found[0], pid


def resumed_with_the_same_bits(remote, undisturbed) -> None:
    assert "resumed at step" in remote.said_by_training
    assert remote.checkpoint == undisturbed.checkpoint
    assert not remote.state.parent.exists()


def test_scancel_and_then_kill_9_of_the_training_are_retried(slurm, remote, undisturbed):
    run = remote.train()
    cancelled, _ = halted(slurm, remote)
    slurm.ask("scancel", cancelled)
    slurm.wait(lambda: slurm.show(cancelled)["JobState"] == "CANCELLED")
    slurm.wait(lambda: "resumed at step" in remote.said_by_training)
    os.kill(halted(slurm, remote)[1], signal.SIGKILL)
    assert remote.finish(run).count("Trying to restart") == 2
    logs = [path.read_text() for path in remote.folder.glob("results/slurm/**/*.log")]
    assert not any("output files are missing" in text for text in logs)  # it failed, and at once
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_job_cancelled_in_every_attempt_goes_on_at_the_next_snakemake(slurm, remote, undisturbed):
    run = remote.train("--retries", "0")
    job, pid = halted(slurm, remote)
    slurm.ask("scancel", job)
    wake(slurm, pid, signal.SIGTERM)
    remote.finish(run, 1)
    assert "stopped by SIGTERM at step" in remote.said_by_training
    remote.finish(remote.train())
    resumed_with_the_same_bits(remote, undisturbed)


def test_kill_9_of_snakemake_leaves_no_second_training_behind(slurm, remote, undisturbed):
    run = remote.train()
    orphan, _ = halted(slurm, remote)
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


def stopped_clock(slurm, remote, **site) -> tuple[subprocess.Popen, str, int]:
    """snakemake and its job, whose training stands still and whose limit is the next minute but one.

    Slurm looks at limits every 30 s: one nearer than that would pass before its signal is sent.
    """
    remote.site(**site)
    run = remote.train("--retries", "0")
    job, pid = halted(slurm, remote)
    hours, minutes, _ = map(int, slurm.show(job)["RunTime"].split(":"))
    slurm.ask("scontrol", "update", f"jobid={job}", f"timelimit={60 * hours + minutes + 2}")
    return run, job, pid


def test_a_training_told_of_its_time_limit_in_the_last_attempt_is_a_status(
    slurm, remote, undisturbed
):
    run, job, pid = stopped_clock(slurm, remote, early_seconds=30)
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


def test_a_time_limit_reached_is_gone_on_from(slurm, remote, undisturbed):
    run, job, pid = stopped_clock(slurm, remote, early_seconds=0)
    wake(slurm, pid, signal.SIGTERM)
    remote.finish(run, 1)
    assert "stopped by SIGTERM at step" in remote.said_by_training
    assert slurm.show(job)["JobState"] == "TIMEOUT"
    remote.site()
    remote.finish(remote.train())
    resumed_with_the_same_bits(remote, undisturbed)


def test_a_job_on_a_node_that_is_drained_goes_on_on_another(slurm, remote, undisturbed):
    """Slurm lets it run on; who drains a node for work on it cancels what is there."""
    run = remote.train()
    job, _ = halted(slurm, remote)
    node = slurm.show(job)["NodeList"]
    slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slurm.ask("scancel", job)
    remote.finish(run)
    last = max(slurm.jobs(), key=int)
    assert slurm.show(last)["NodeList"] != node
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
def test_a_kill_for_lack_of_memory_in_every_attempt_is_a_row_of_the_table(slurm, remote):
    """Slurm fails the attempt that says so, too; the next one takes what that has found."""
    remote.site(max_memory_gb=0.7)
    large = {"dim": 1024, "qkv_dim": 1024, "mlp_dim": 8192, "layers": 4}
    config = [*LONG[:4], f"overrides={{encoder: {json.dumps(large)}}}"]
    table = "results/tiny/tables/accuracy.md"
    before = set(slurm.jobs())
    said = remote.finish(remote.start("--retries", "1", targets=[table], config=config))
    trained = {job for job, rule in slurm.jobs().items() if "rule_train" in rule} - before
    states = [slurm.show(job)["JobState"] for job in sorted(trained, key=int)]
    assert states in (["FAILED", "COMPLETED"], ["OUT_OF_MEMORY", "COMPLETED"])
    assert "| oom" in (remote.folder / table).read_text()
    assert "linear/seed1  oom: killed by the kernel for lack of memory" in said
