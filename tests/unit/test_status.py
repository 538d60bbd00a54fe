"""`lra status`: cells by their files, and the hours that are left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lra.cli.options import results_of
from lra.config.cell import to_yaml
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.core.schema import Strict
from lra.planning import status
from lra.results import failure
from lra.results.records import CurveRow, TrainRecord, write_record, write_rows
from tiny import ROOT

CONFIG = ROOT / "config/paper.yaml"


def train_record(**changes) -> Strict:
    made_with = {"fingerprint": "f", "device": "cuda: demo", "torch_version": "2"}
    made_with |= {"experiment": "paper", "protocol": "official", "task": "listops", "seed": 0}
    made_with |= {"model": "linear", "mechanism": "linear", "dataset": "listops"}
    known = {"status": "ok", "reason": None, "params": 1, "steps": 5000, "chosen_step": 5000}
    known |= {"train_seconds": 1000.0, "val_accuracy": 40.0, "git_commit": None}
    return TrainRecord(**made_with, **known | changes)


class Results:
    """results/paper/, in which cells are put by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "results/paper"

    def done(self, name: str, scored: bool = True, **changes) -> None:
        write_record(self.root / "cells" / name / "train.json", train_record(**changes))
        if scored:
            (self.root / "cells" / name / "score.json").write_text("{}")

    def history(self, name: str, step: int, seconds: float) -> None:
        row = {"step": step, "split": "val", "loss": 1.5, "accuracy": 25.0, "learning_rate": 1e-3}
        rows = [row | {"seconds": seconds}]
        write_rows(self.root / "work" / name / "history.parquet", rows, CurveRow)

    def log(self, name: str) -> None:
        path = self.root / "logs/train" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}  step 20/5,000\n")

    def fails(self, name: str, error: Exception, stage: str = "train") -> None:
        """A job that writes its log and ends with an error."""
        self.log(name)
        with pytest.raises(type(error)), failure.noted(self.root / "work" / name, stage):
            raise error

    def age(self, seconds: float) -> None:
        """As if everything had been written so long ago."""
        then = time.time() - seconds
        for path in self.root.rglob("*"):
            os.utime(path, (then, then))

    def progress(self) -> status.Progress:
        return status.Progress(Arena.read(CONFIG, sources=False), self.folder / "results")

    def seen(self, name: str) -> status.Seen:
        return next(cell for cell in self.progress().cells if cell.name == name)


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path)


NAME = "listops/linear/seed0"


def test_nothing_but_a_plan_waits(results):
    cells = results.progress().cells
    assert len(cells) == 6 * 14 * 3
    assert {cell.state for cell in cells} == {"waiting"}


def test_a_scored_cell_is_done_and_a_trained_one_waits_for_that(results):
    results.done(NAME)
    results.done("listops/linear/seed1", scored=False)
    assert results.seen(NAME).state == "done"
    assert results.seen("listops/linear/seed1").state == "waiting"
    assert results.progress().left(results.seen("listops/linear/seed1")) == (0.0, "done")


def test_a_trained_cell_whose_scoring_failed_has_failed(results):
    results.done(NAME, scored=False)
    results.fails(NAME, LRAError("test.arrow: damaged"), "evaluate")
    assert results.seen(NAME).state == "failed"
    assert f"failed   {NAME}  test.arrow: damaged" in status.report(results.progress())


def test_a_file_that_is_renamed_as_one_looks_is_no_error(results):
    results.history(NAME, 1000, 100.0)
    (results.root / "work" / NAME / "state.pt.partial").symlink_to("renamed")
    assert results.seen(NAME).state == "running"


def test_a_status_is_a_failure_and_is_named(results):
    results.done(NAME, status="oom", reason="CUDA out of memory", val_accuracy=None)
    assert results.seen(NAME).state == "failed"
    assert f"failed   {NAME}  oom: CUDA out of memory" in status.report(results.progress())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LRAError("results/data/x/train.arrow: damaged"), "results/data/x/train.arrow: damaged"),
        (RuntimeError("no kernel image\nmore"), "RuntimeError: no kernel image"),
    ],
)
def test_a_job_that_ends_in_an_error_is_a_failure(results, error, reason):
    results.fails(NAME, error)
    assert results.seen(NAME) == status.Seen(NAME, "failed", 0, 0.0, reason)


def test_a_training_that_was_stopped_waits(results):
    results.fails(NAME, failure.Stopped(f"{NAME}: stopped by SIGTERM at step 9 of 20"))
    assert results.seen(NAME).state == "waiting"


def test_the_reason_goes_when_the_next_job_starts(results):
    results.fails(NAME, LRAError("train.arrow: damaged"))
    with failure.noted(results.root / "work" / NAME, "train"):
        assert results.seen(NAME) == status.Seen(NAME, "running", 0, 0.0)


def test_what_was_written_lately_runs_and_what_was_not_waits(results):
    results.log(NAME)
    results.history(NAME, 1000, 100.0)
    assert results.seen(NAME) == status.Seen(NAME, "running", 1000, 100.0)
    results.age(status.RECENT_SECONDS + 10)
    assert results.seen(NAME).state == "waiting"
    assert results.seen(NAME).step == 1000  # from which it goes on


def lies_there(results, *names) -> None:
    for name in names:
        path = results.root / "cells" / NAME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_cell_whose_record_was_removed_does_not_run(results):
    results.log(NAME)
    lies_there(results, "history.parquet", "score.json", "predictions.parquet")
    seen = results.seen(NAME)
    assert (seen.state, seen.step) == ("waiting", 0)
    assert seen.reason.endswith(f"cells/{NAME}/train.json is missing")
    assert f"waiting  {NAME}  " in status.report(results.progress())


def test_a_cell_of_which_its_score_alone_was_left_does_not_run(results):
    results.log(NAME)
    lies_there(results, "score.json", "predictions.parquet")
    assert results.seen(NAME).state == "waiting"


def test_a_cell_that_is_trained_anew_runs_beside_its_old_score(results):
    lies_there(results, "score.json", "predictions.parquet")
    results.age(60)
    results.log(NAME)
    assert results.seen(NAME).state == "running"


def test_files_of_a_finished_cell_that_are_gone_are_named(results):
    results.done(NAME)
    lies_there(results, "history.parquet", "predictions.parquet")
    assert results.seen(NAME).state == "done"
    path = results.root / "cells" / NAME / "config.yaml"
    said = status.report(results.progress())
    assert f"missing  {path}; snakemake makes them again" in said


@pytest.mark.parametrize(
    ("seed", "steps", "state"), [(0, 0, "done"), (0, 7, "waiting"), (1, 0, "done")]
)
def test_a_cell_of_other_settings_is_not_done(results, seed, steps, state):
    name = f"listops/linear/seed{seed}"
    cell, _ = Arena.read(CONFIG, sources=False).resolve("listops", "linear", seed)
    was = cell.training.steps + steps
    cell = cell.model_copy(update={"training": cell.training.model_copy(update={"steps": was})})
    results.done(name)
    (results.root / "cells" / name / "config.yaml").write_text(to_yaml(cell))
    seen = results.seen(name)
    assert seen.state == state
    said = f"trained with other settings: training.steps was {was}, now {was - steps}"
    assert seen.reason == (said if steps else None)
    if steps:
        assert results.progress().left(seen)[0] > 0


def test_hours_are_those_of_its_own_speed_then_of_its_seeds_then_estimated(results):
    results.done("listops/linear/seed1")  # 5 steps/s
    results.history(NAME, 1000, 100.0)  # 10 steps/s
    steps = results.progress().cell("listops/linear").training.steps
    progress = results.progress()
    assert progress.left(results.seen(NAME)) == ((steps - 1000) / 10 / 3600, "measured")
    hours, how = progress.left(results.seen("listops/linear/seed2"))
    assert (hours, how) == (pytest.approx(steps * (1 / 5 + 1 / 10) / 2 / 3600), "measured")
    assert progress.left(results.seen("text/linear/seed0"))[1] == "estimated"


def test_the_report_adds_up(results):
    for task in ("listops", "text"):
        results.done(f"{task}/linear/seed0")
    results.history("listops/linear/seed1", 1000, 100.0)
    lines = status.report(results.progress()).splitlines()
    assert lines[0] == "paper: 252 cells"
    assert lines[2].split() == ["listops", "1", "1", "40", "0"]
    assert any(
        line.startswith(
            "running  listops/linear/seed1  step 1,000/5,000  10.0 steps/s  0:06:40 left"
        )
        for line in lines
    )
    assert lines[-1].endswith("with 1 at once, as now")


def test_everything_done_leaves_nothing(results):
    for cell in results.progress().cells:
        results.done(cell.name)
    assert status.report(results.progress()).endswith(
        "nothing left to train; whether a cell has changed since, snakemake -n says"
    )


def test_a_learning_curve_is_text(results):
    results.history(NAME, 1000, 100.0)
    lines = status.curve(results.root, NAME).splitlines()
    assert lines[2].split() == ["1,000", "1.5000", "25.00", "%", "##########"]
    assert status.curve(results.root, "text/linear/seed0").endswith("no evaluation so far")


def lra(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "lra.cli", "status", "--configfile", str(CONFIG), *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": f"{path}:{ROOT / 'src'}"}, text=True,
        capture_output=True,
    )  # fmt: skip


def test_the_verb_imports_no_torch_and_no_data_generator(results, tmp_path):
    for module in ("torch", "numba", "scipy", "pandas"):
        (tmp_path / f"{module}.py").write_text(f"raise RuntimeError('{module} was imported')\n")
    results.done(NAME)
    done = lra(tmp_path, path=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("paper: 252 cells")


def test_a_cell_that_is_none_is_said_so(results, tmp_path):
    done = lra(tmp_path, "listops/liner/seed0")
    assert done.returncode == 1
    assert done.stderr == (
        "lra: lra status: 'listops/liner/seed0' is unknown; did you mean 'listops/linear/seed0'?\n"
    )


def test_results_are_found_from_a_folder_below(tmp_path, monkeypatch):
    (tmp_path / "root/results").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert results_of(tmp_path / "root") == tmp_path / "root/results"
    (tmp_path / "results").mkdir()  # of snakemake --directory
    assert results_of(tmp_path / "root") == Path("results")


def test_a_pretraining_that_runs_and_then_its_training(results):
    given = yaml.safe_load(CONFIG.read_text())
    given["overrides"] = {"pretraining": {"objective": "masked", "steps": 8000}}
    arena = Arena.open(given, [], ROOT)
    log = results.root / f"logs/pretrain/{NAME}.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 20\n")
    results.history(f"pretrained/{NAME}", 2000, 500.0)
    progress = status.Progress(arena, results.folder / "results")
    seen = next(each for each in progress.cells if each.name == NAME)
    assert (seen.state, seen.step, seen.pretrains) == ("running", 2000, True)
    assert f"running  {NAME}  step 2,000/8,000 of its pretraining  4.0 steps/s" in status.report(
        progress
    )
    assert progress.pace == {}  # of trainings
    trained = progress.estimates.costs(progress.cell(seen.pair)).hours
    assert progress.left(seen) == (pytest.approx(6000 / 4 / 3600 + trained), "estimated")
    record = results.root / f"pretrained/{NAME}/pretrain.json"
    write_record(record, train_record(steps=8000))
    seen = next(
        e for e in status.Progress(arena, results.folder / "results").cells if e.name == NAME
    )
    assert (seen.state, seen.pretrains) == ("waiting", False)
    assert progress.left(seen) == (trained, "estimated")


def test_a_pretraining_that_failed(results):
    with (
        pytest.raises(LRAError),
        failure.noted(results.root / f"work/pretrained/{NAME}", "pretrain"),
    ):
        raise LRAError("train.arrow: damaged")
    seen = status.look(results.root, NAME)
    assert (seen.state, seen.reason) == ("failed", "pretraining: train.arrow: damaged")
