"""What cannot be had is one clear line or a status, and nothing half-written is left."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from lra.core.errors import LRAError
from lra.hardware import device
from lra.training.checkpoint import Work
from processes import limited, lra, train_arguments
from tiny import make_cell, tmpfs


def train(data: Path, out: Path, **changed) -> subprocess.CompletedProcess:
    return lra(*train_arguments(make_cell(**changed), data, out), "--save-seconds", 0)


def evaluate(data: Path, out: Path) -> subprocess.CompletedProcess:
    return lra("evaluate", "--cell", out, "--data", data, "--work", out / "work")


def one_line(done: subprocess.CompletedProcess) -> str:
    """The single line that a failed verb says."""
    lines = [line for line in done.stderr.splitlines() if "steps/s" not in line]
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lra: ")
    return lines[0]


def left(folder: Path) -> list[str]:
    """Names of the files below it, locks left out."""
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
def data(tiny_listops, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_listops, tmp_path / "data"))


def test_a_missing_data_file_is_named(data, tmp_path):
    (data / "val.arrow").unlink()
    assert str(data / "val.arrow") in one_line(train(data, tmp_path / "out"))
    assert left(tmp_path / "out") == ["work.failure.json"]


@pytest.mark.parametrize("file", ["train.arrow", "val.arrow"])
def test_a_truncated_data_file_is_named(data, tmp_path, file):
    content = (data / file).read_bytes()
    (data / file).write_bytes(content[: len(content) // 2])
    assert str(data / file) in one_line(train(data, tmp_path / "out"))
    assert left(tmp_path / "out") == ["work.failure.json"]


def test_a_flipped_bit_of_the_test_set_is_noticed_before_scoring(data, tmp_path):
    assert train(data, tmp_path / "out").returncode == 0
    content = bytearray((data / "test.arrow").read_bytes())
    content[len(content) // 2] ^= 1
    (data / "test.arrow").write_bytes(content)
    done = evaluate(data, tmp_path / "out")
    assert str(data / "test.arrow") in one_line(done)
    assert not (tmp_path / "out/score.json").exists()


def test_a_truncated_checkpoint_is_named(data, tmp_path):
    assert train(data, tmp_path / "out").returncode == 0
    checkpoint = tmp_path / "out/checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    done = evaluate(data, tmp_path / "out")
    assert str(checkpoint) in one_line(done)
    assert not (tmp_path / "out/score.json").exists()


def test_a_diverged_training_is_a_status_up_to_the_score(data, tmp_path):
    done = train(data, tmp_path / "out", training={"learning_rate": 1e30})
    assert done.returncode == 0, done.stderr
    assert "status diverged" in done.stderr
    record = json.loads((tmp_path / "out/train.json").read_text())
    assert (record["status"], record["val_accuracy"]) == ("diverged", None)
    done = evaluate(data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    score = json.loads((tmp_path / "out/score.json").read_text())
    assert (score["status"], score["accuracy"], score["n_test"]) == ("diverged", None, 400)


@pytest.mark.slow
def test_out_of_memory_in_training_is_a_status(data, tmp_path):
    large = make_cell(encoder={"dim": 1024, "qkv_dim": 1024, "mlp_dim": 16384, "layers": 8})
    done = limited(2**30, *train_arguments(large, data, tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out/train.json").read_text())
    assert record["status"] == "oom"
    assert "memory" in record["reason"]


def test_an_output_that_is_a_file_is_named_before_the_training(data, tmp_path):
    (tmp_path / "out").touch()
    cell = make_cell()
    done = lra(*train_arguments(cell, data, tmp_path / "out")[:-1], tmp_path / "work")
    assert "file exists" in one_line(done) and "steps/s" not in done.stderr


def test_a_full_disk_stops_the_training_in_one_line(data, tmp_path):
    with tmpfs(tmp_path / "full", "size=64k") as full:
        line = one_line(train(data, full / "out"))
        assert "No space left on device" in line
        assert str(full) in line
        assert left(full) in (["work.failure.json"], [])  # as there is room or not


def test_a_disk_that_fills_up_while_saving_leaves_the_state_before(tmp_path):
    """A real state, on a disk with room for two and not for a third."""
    said = []
    with tmpfs(tmp_path / "full", "size=1m") as full:
        work = Work(full / "work", "key", said.append)
        for step in (1, 2):
            work.save({"weights": torch.full((80_000,), float(step)), "step": step})
        for _ in range(2):  # also when it happens again
            with pytest.raises(LRAError, match="state.pt: .*No space left on device"):
                work.save({"weights": torch.zeros(200_000), "step": 3})
            assert work.load()["step"] == 2
    assert not said


def test_a_folder_that_cannot_be_written_is_named(data, tmp_path):
    with tmpfs(tmp_path / "readonly", "ro") as readonly:
        line = one_line(train(data, readonly / "out"))
        assert str(readonly) in line
        assert "read-only file system" in line.lower()


def test_a_truncated_data_file_stops_its_cells_in_the_dag_and_no_other(checkout):
    shutil.rmtree(checkout.folder / "results/tiny/cells")
    file = checkout.folder / "results/data/listops-tiny/train.arrow"
    file.write_bytes(file.read_bytes()[:-1000])
    done = checkout.snakemake(
        "--configfile", "config/tiny.yaml", "--cores", "2", "cells", "--config", "seeds=[1]",
        "models=[linear]",
    )  # fmt: skip
    assert done.returncode != 0
    said = [line for line in done.stdout.splitlines() if line.startswith("lra: ")]
    assert len(said) == 1
    assert "results/data/listops-tiny/train.arrow" in said[0]
    cells = checkout.folder / "results/tiny/cells"
    assert not list((cells / "listops").rglob("*.*"))
    assert (cells / "pathfinder/linear/seed1/score.json").exists()


def test_the_end_of_a_run_says_how_many_jobs_failed_which_and_why(checkout):
    """The error, and not the line that was said last."""
    table = checkout.folder / "results/tiny/scores.parquet"
    table.write_bytes(b"no table")
    done = checkout.snakemake(
        "--configfile", "config/tiny.yaml", "--cores", "2", "results/tiny/tables/accuracy.md",
        "results/tiny/tables/significance.md",
    )  # fmt: skip
    assert done.returncode != 0
    end = done.stdout[done.stdout.index("All 8 cells are ok.") :].splitlines()
    for line, name in zip(end[1:3], ("accuracy", "significance"), strict=True):
        log = f"results/tiny/logs/table/{name}.log"
        assert line.startswith(f"  table {name}: {table.relative_to(checkout.folder)}: not ")
        assert line.endswith(f"({log})")
    assert end[3] == "Failed jobs, 2: table accuracy, table significance"
    assert end[4].startswith("    snakemake --configfile config/tiny.yaml --cores 2 results/tiny/")


def test_a_profile_point_without_enough_memory_is_a_row_with_a_status(checkout):
    """The scores of 2^20 tokens would take 8 TiB."""
    checkout.forget_tables()
    checkout.write(
        "config/models/dense.yaml",
        "title: dense\nattention: transformer\noptions: {kernel: materialised}\n",
    )
    checkout.edit("config/tiny.yaml", "  - 64\n", "  - 1048576\n")
    done = checkout.snakemake(
        "--configfile", "config/tiny.yaml", "--cores", "2", "--config", "models=[dense]", "--",
        "results/tiny/tables/efficiency.md",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    rows = {
        (what, row["length"]): row
        for what in ("speed", "memory")
        for row in pq.read_table(checkout.folder / f"results/tiny/{what}.parquet").to_pylist()
    }
    assert rows["speed", 32]["status"] == rows["memory", 32]["status"] == "ok"
    assert rows["speed", 2**20]["status"] == rows["memory", 2**20]["status"] == "oom"
    assert rows["speed", 2**20]["train_steps_per_s"] is None
    assert rows["memory", 2**20]["peak_bytes"] is None
    assert "oom" in (checkout.folder / "results/tiny/tables/efficiency.md").read_text()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
    ids=["allocator", "driver", "cublas", "python"],
)
def test_a_lack_of_memory_is_known_by_its_words(error):
    assert device.is_out_of_memory(error)
    assert not device.is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
