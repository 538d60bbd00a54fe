"""One GPU for one job, or for a few, among processes: with pretended devices."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import uuid
from functools import partial
from pathlib import Path

import pytest

from lra.core.errors import LRAError
from lra.hardware import gpu_lock
from tiny import ROOT

# Takes a device, says which it and CUDA would see, holds it until its input closes.
HOLDER = """
import os, sys
from lra.hardware.gpu_lock import held
with held(sys.argv[1], print, int(sys.argv[2])) as device:
    print(device, os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def machine(monkeypatch) -> list[str]:
    """Two devices that no other test knows."""
    names = [f"test-{uuid.uuid4().hex}" for _ in range(2)]
    monkeypatch.setenv("LRA_PRETEND_GPUS", ",".join(names))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield names
    for file in [file for name in names for file in gpu_lock.lock_files(name)]:
        file.unlink(missing_ok=True)


@pytest.fixture
def start():
    """Starts a job that takes a device, and ends it after the test."""
    jobs = []

    def job(device: str = "auto", share: int = 1) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", HOLDER, device, str(share)]
        jobs.append(
            subprocess.Popen(
                command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        return jobs[-1]

    yield job
    for each in jobs:
        each.kill()
        each.wait()
        each.stdin.close()
        each.stdout.close()


def device_of(job: subprocess.Popen) -> str:
    """The device that a job took; waits until it has one."""
    name, seen = job.stdout.readline().split()
    assert name == seen  # CUDA sees that one alone
    return name


def waits(job: subprocess.Popen) -> bool:
    """Whether a job has no device after it looked for one several times."""
    readable, _, _ = select.select([job.stdout], [], [], 5 * gpu_lock.LOOK_SECONDS)
    return not readable and job.poll() is None


def end(job: subprocess.Popen) -> None:
    job.stdin.close()
    assert job.wait() == 0


def test_each_job_takes_its_own_device_and_the_third_waits_for_one(machine, start):
    one, two = start(), start()
    first = device_of(one)
    assert sorted([first, device_of(two)]) == sorted(machine)
    three = start()
    assert waits(three)
    end(one)
    assert device_of(three) == first


def test_a_killed_holder_frees_its_device(machine, start):
    jobs = {device_of(job): job for job in (start(), start())}
    waiting = start()
    assert waits(waiting)
    jobs[machine[1]].send_signal(signal.SIGKILL)
    assert device_of(waiting) == machine[1]


def test_small_jobs_share_a_device_and_a_job_alone_waits_for_all_of_them(
    machine, start, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    one, two = start(share=2), start(share=2)
    assert device_of(one) == device_of(two) == machine[0]
    third, alone = start(share=2), start()
    assert waits(third) and waits(alone)
    third.kill()
    end(one)
    assert waits(alone)
    two.send_signal(signal.SIGKILL)
    assert device_of(alone) == machine[0]
    late = start(share=2)
    assert waits(late)
    end(alone)
    assert device_of(late) == machine[0]


def test_a_job_takes_no_device_that_is_hidden_from_it(machine, start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert device_of(start()) == machine[1]
    assert waits(start())


def test_a_job_on_the_cpu_takes_none(machine, start):
    assert start("cpu").stdout.readline().split() == ["None", "None"]


def test_without_a_driver_nothing_is_taken_and_nothing_said(monkeypatch, capfd):
    """The real driver where there is none; elsewhere CUDA_VISIBLE_DEVICES hides it."""
    monkeypatch.delenv("LRA_PRETEND_GPUS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_lock.devices() == []
    with gpu_lock.held("auto", print) as device:
        assert device is None
        assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("forbidden", "seen"), [("", 1), ("nvmlDeviceGetUUID", 0), ("nvmlDeviceGetCount", 0)]
)
def test_a_device_that_may_not_be_asked_for_is_not_there(forbidden, seen):
    path = f"{ROOT / 'tests/standins'}:{ROOT / 'src'}"
    environment = {**os.environ, "PYTHONPATH": path, "LRA_STANDIN_NVML": forbidden}
    program = [
        sys.executable,
        "-c",
        "from lra.hardware import gpu_lock; print(len(gpu_lock.devices()))",
    ]
    assert int(subprocess.check_output(program, env=environment)) == seen


@pytest.mark.parametrize(
    ("visible", "seen"),
    [("1", ["GPU-bb"]), ("1,0", ["GPU-bb", "GPU-aa"]), ("GPU-b", ["GPU-bb"]), ("", []), ("-1", []),
     ("0,7,1", ["GPU-aa"]), ("MIG-x", ["MIG-x"])],
)  # fmt: skip
def test_cuda_visible_devices_is_read_as_cuda_does(monkeypatch, visible, seen):
    monkeypatch.setenv("LRA_PRETEND_GPUS", "GPU-aa,GPU-bb")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_lock.devices() == seen


def test_the_lock_folder_of_someone_else_is_refused(monkeypatch):
    monkeypatch.setattr(os, "getuid", partial(int, 4242424))
    folder = Path("/tmp/lra-4242424")
    try:
        with pytest.raises(LRAError, match=re.escape(f"{folder}: belongs to someone else")):
            gpu_lock.lock_folder()
    finally:
        folder.rmdir()
