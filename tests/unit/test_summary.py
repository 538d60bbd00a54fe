"""The end of a run names what is not ok and how to run it again."""

from __future__ import annotations

import pytest

from lra.config.schema import Experiment
from lra.planning.summary import FailedJob, summary
from lra.results import failure
from lra.results.records import ScoreRecord, TrainRecord, write_record

MADE = {"fingerprint": "f", "device": "cpu: x", "torch_version": "2", "git_commit": None,
        "experiment": "tiny", "protocol": "quick", "task": "listops", "dataset": "tiny"}  # fmt: skip
ARGUMENTS = ["--cores", "all"]


@pytest.fixture
def experiment() -> Experiment:
    return Experiment(
        experiment="tiny", protocol="quick", tasks=["listops"], models=["linear", "local"],
        seeds=[1, 2],
        profile={"lengths": [32], "batch_size": 1, "encoder": {
            "dim": 16, "qkv_dim": 16, "heads": 2, "layers": 1, "mlp_dim": 16, "pooling": "MEAN",
            "vocab_size": 257, "classes": 2}},
    )  # fmt: skip


def finish(root, model, seed, status="ok", reason=None):
    cell = root / f"tiny/cells/listops/{model}/seed{seed}"
    made = {**MADE, "model": model, "mechanism": model, "seed": seed}
    train = TrainRecord(**made, status=status, reason=reason, params=1, steps=20, chosen_step=None,
                        train_seconds=1.0, val_accuracy=None)  # fmt: skip
    score = ScoreRecord(**made, status=status, reason=reason, accuracy=None, loss=None, n_test=1,
                        chance=10.0, validation="held out")  # fmt: skip
    write_record(cell / "train.json", train)
    write_record(cell / "score.json", score)
    return cell


def test_nothing_to_say_of_cells_that_are_ok(tmp_path, experiment):
    for model in experiment.models:
        for seed in experiment.seeds:
            finish(tmp_path, model, seed)
    assert summary(tmp_path, experiment, ARGUMENTS) == "All 4 cells are ok."


def test_each_cell_that_is_not_ok_has_its_reason_and_its_line(tmp_path, experiment):
    finish(tmp_path, "linear", 1)
    late = finish(tmp_path, "linear", 2, "timeout", "stopped by SIGUSR1 at step 5 of 20")
    log = tmp_path / "tiny/logs/train/listops/local/seed1.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 3\n")
    silent = summary(tmp_path, experiment, ARGUMENTS)
    assert f"listops/local/seed1  ended without a recorded reason, see {log}" in silent
    failure.note(tmp_path / "tiny/work/listops/local/seed1", "train", "train.arrow: no such file")
    assert summary(tmp_path, experiment, ARGUMENTS).splitlines() == [
        "Not ok, of 4 cells:",
        "  listops/linear/seed2  timeout: stopped by SIGUSR1 at step 5 of 20",
        f"    snakemake --forcerun={late}/train.json --cores all",
        "  listops/local/seed1  train.arrow: no such file",
        "    snakemake --cores all",
        "  not run: listops/local/seed2",
        "    snakemake --cores all -- cells",
    ]


def test_a_cell_whose_scoring_failed_is_not_trained_again(tmp_path, experiment):
    cell = finish(tmp_path, "linear", 1)
    (cell / "score.json").unlink()
    failure.note(tmp_path / "tiny/work/listops/linear/seed1", "evaluate", "test.arrow: damaged")
    assert summary(tmp_path, experiment, ARGUMENTS).splitlines()[1:3] == [
        "  listops/linear/seed1  test.arrow: damaged",
        "    snakemake --cores all",
    ]


def test_a_damaged_record_is_named(tmp_path, experiment):
    cell = finish(tmp_path, "linear", 1)
    (cell / "train.json").write_text("{")
    said = summary(tmp_path, experiment, ARGUMENTS)
    assert f"listops/linear/seed1  damaged: {cell}/train.json: not JSON" in said


def test_cells_that_did_not_run_are_counted_not_listed(tmp_path, experiment):
    many = experiment.model_copy(update={"seeds": list(range(1, 11))})
    line = summary(tmp_path, many, ARGUMENTS).splitlines()[1]
    assert line.startswith("  not run: listops/linear/seed1, ") and line.endswith(", 12 more")


def test_cells_that_nobody_asked_for_are_not_missing(tmp_path, experiment):
    """Of `snakemake data`, or of one table."""
    none = summary(tmp_path, experiment, ARGUMENTS, asked=())
    assert none == "0 of 4 cells are ok; no other was asked for."
    finish(tmp_path, "linear", 1)
    asked = {"listops/linear/seed1", "listops/local/seed1"}
    lines = summary(tmp_path, experiment, ARGUMENTS, asked=asked).splitlines()
    assert lines[:2] == ["Not ok, of 4 cells:", "  not run: listops/local/seed1"]
    finish(tmp_path, "local", 1)
    done = summary(tmp_path, experiment, ARGUMENTS, asked=asked)
    assert done == "2 of 4 cells are ok; no other was asked for."


def test_the_last_lines_say_how_many_other_jobs_failed_which_and_why(tmp_path, experiment):
    log = tmp_path / "accuracy.log"
    log.write_text("step 3\nlra: scores.parquet: not a Parquet file\n")
    killed = tmp_path / "speed.log"
    killed.write_text("step 3\n")
    failed = [FailedJob("table accuracy", log), FailedJob("speed of linear", killed)]
    assert summary(tmp_path, experiment, ARGUMENTS, failed).splitlines()[-4:] == [
        f"  speed of linear: ended without saying why ({killed})",
        f"  table accuracy: scores.parquet: not a Parquet file ({log})",
        "Failed jobs, 2: speed of linear, table accuracy",
        "    snakemake --cores all",
    ]


def test_a_cell_whose_pretraining_ended_badly_is_run_again_from_that(tmp_path, experiment):
    reason = "pretraining: the loss was not finite by step 3"
    finish(tmp_path, "linear", 1, "diverged", reason)
    first = tmp_path / "tiny/pretrained/listops/linear/seed1/pretrain.json"
    made = {**MADE, "model": "linear", "mechanism": "linear", "seed": 1}
    record = TrainRecord(**made, status="diverged", reason=reason, params=1, steps=3,
                         chosen_step=None, train_seconds=1.0, val_accuracy=None)  # fmt: skip
    write_record(first, record)
    lines = summary(tmp_path, experiment, ARGUMENTS).splitlines()
    assert lines[1] == f"  listops/linear/seed1  diverged: {reason}"
    assert lines[2] == f"    snakemake --forcerun={first} --cores all"
