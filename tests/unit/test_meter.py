"""Energy and use of a GPU, with a stand-in for NVIDIA's driver, and without any driver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import warm
from lra.config.cell import ProfilePoint
from lra.hardware import gpu_meter
from lra.hardware.gpu_meter import Meter, integral
from lra.results.points import SpeedRow
from lra.results.records import TrainRecord, arrow_schema, read_record, read_table, write_table
from tiny import ROOT, make_cell

STANDIN = ROOT / "tests/standins"
COUNTER = "nvmlDeviceGetTotalEnergyConsumption"


@pytest.fixture
def driver(monkeypatch):
    """The stand-in in the place of NVIDIA's module."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("standin", STANDIN / "pynvml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(gpu_meter, "pynvml", module)
    monkeypatch.setattr(gpu_meter, "SAMPLE_SECONDS", 0.01)
    monkeypatch.delenv("LRA_STANDIN_NVML", raising=False)
    return module


def lra(*arguments: str, **environment: str) -> subprocess.Popen:
    """`lra` in a process that has the stand-in's GPU, which torch does not see."""
    return subprocess.Popen(
        [warm.python(), "-m", "lra.cli", *arguments],
        env={**os.environ, "PYTHONPATH": f"{STANDIN}:{ROOT / 'src'}", **environment},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def train(data: Path, out: Path, cell, **environment: str) -> subprocess.Popen:
    return lra(
        "train", "--cell", cell.model_dump_json(), "--data", str(data), "--out", str(out),
        "--work", str(out / "work"), **environment,
    )  # fmt: skip


def finish(job: subprocess.Popen) -> None:
    _, said = job.communicate()
    assert job.returncode == 0, said


@pytest.mark.parametrize("unsupported", ["", COUNTER], ids=["counter", "sampled power"])
def test_energy_is_power_times_time(driver, monkeypatch, unsupported):
    monkeypatch.setenv("LRA_STANDIN_NVML", unsupported)
    start = time.monotonic()
    with Meter(driver.UUID) as running:
        time.sleep(0.3)
        joules = running.joules()
    assert driver.WATTS * 0.3 <= joules + 0.001 <= driver.WATTS * (time.monotonic() - start) + 0.002


def test_use_has_the_units_that_its_record_says(driver):
    with Meter(driver.UUID) as running:
        assert running.use() == {
            "name": "NVIDIA Stand-in", "driver": "999.1", "memory_bytes": 3 * 10**9,
            "utilisation": 50, "watts": 200,
        }  # fmt: skip


def test_what_a_device_does_not_say_is_null(driver, monkeypatch):
    monkeypatch.setenv(
        "LRA_STANDIN_NVML",
        f"{COUNTER} nvmlDeviceGetPowerUsage nvmlDeviceGetUtilizationRates nvmlDeviceGetMemoryInfo",
    )
    with Meter(driver.UUID) as running:
        assert running.joules() is None
        use = running.use()
    assert [use[key] for key in ("memory_bytes", "utilisation", "watts")] == [None] * 3


@pytest.mark.parametrize("device", [None, "GPU-of-no-machine"])
def test_without_a_driver_there_are_nulls_and_no_warning(device, recwarn, capfd):
    """With NVIDIA's own module, which finds no driver, or no such device."""
    with Meter(device) as running:
        assert running.joules() is None
        assert running.use() is None
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_the_integral_of_uneven_samples():
    assert integral([(0, 100), (1, 100), (3, 200)]) == 100 + 300
    assert integral([(0, 100)]) is None


def test_a_training_records_its_energy_and_its_gpu(tiny_listops, tmp_path):
    cell = make_cell(device="auto", training={"steps": 60})
    finish(train(tiny_listops, tmp_path, cell))
    record = read_record(tmp_path / "train.json", TrainRecord)
    # data and model are made before the first step, so the device ran for longer than was trained
    assert record.energy_joules > 200 * record.train_seconds
    assert (record.gpu.name, record.gpu.driver) == ("NVIDIA Stand-in", "999.1")


@pytest.mark.slow
def test_the_energy_of_a_resumed_training_is_that_of_both_parts(tiny_listops, tmp_path):
    cell = make_cell(device="auto", training={"steps": 300})
    job = train(tiny_listops, tmp_path, cell, LRA_SAVE_SECONDS="0")
    newest, previous = tmp_path / "work/state.pt", tmp_path / "work/state.previous.pt"
    while not previous.exists() and job.poll() is None:
        time.sleep(0.01)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    assert job.returncode == -signal.SIGKILL, "the training ended before it could be killed"
    last = newest if newest.exists() else previous  # killed while one made room for the next
    saved = torch.load(last, weights_only=True)["state"]
    assert saved["joules"] > 0
    finish(train(tiny_listops, tmp_path, cell))
    record = read_record(tmp_path / "train.json", TrainRecord)
    assert record.energy_joules > saved["joules"] + 200 * (record.train_seconds - saved["seconds"])


def test_a_training_on_the_cpu_has_no_energy(tiny_listops, tmp_path):
    finish(train(tiny_listops, tmp_path, make_cell(device="cpu", training={"steps": 20})))
    record = json.loads((tmp_path / "train.json").read_text())
    assert (record["energy_joules"], record["gpu"]) == (None, None)


def test_a_profile_has_the_energy_of_one_step(tmp_path):
    point = ProfilePoint(
        experiment="test", protocol="quick", task="text", model="transformer", length=64, batch_size=1, seconds=0.3,
        device="auto", encoder=make_cell().encoder,
    )  # fmt: skip
    finish(lra("profile", point.model_dump_json(), "--root", str(tmp_path)))
    record = json.loads((tmp_path / "profile/speed/transformer/64.json").read_text())
    seconds = 1 / record["train_steps_per_s"]
    assert 0.1 < record["joules_per_step"] / (200 * seconds) < 10  # a mean, and a median
    assert record["gpu"]["name"] == "NVIDIA Stand-in"


def test_a_table_from_before_there_was_energy_is_read_with_nulls(tmp_path):
    from fabricated import speed_row

    from lra.results.records import write_rows

    write_rows(tmp_path / "speed.parquet", [speed_row()], SpeedRow)
    new = read_table(tmp_path / "speed.parquet", SpeedRow)
    write_table(tmp_path / "speed.parquet", new.drop_columns(["joules_per_step"]))
    assert "joules_per_step" not in pd.read_parquet(tmp_path / "speed.parquet")
    assert read_table(tmp_path / "speed.parquet", SpeedRow).schema == arrow_schema(SpeedRow)
