"""What a change makes snakemake run again: what depends on it, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess

import pyarrow.parquet as pq
import pytest

import warm
from lra.report import registry

DRAWN = [item.name for item in registry.FIGURES]
FIGURES = {f"figure {name}" for name in DRAWN}
AFTER_SCORES = {"page", "collect scores", "collect history", "table tasks", "table accuracy", "table training",
                "table significance", "table shortcomings", "table overfitting", "table reach", "table rank_agreement",
                "table rates", "table neighbours", "table span"}  # fmt: skip
AFTER_PROFILES = {"page", "collect speed", "collect memory", "table efficiency", "table costs"}
AFTER_SPANS = {"page", "collect span", "table span", "table reach", "figure span"}


SEEDS = '''\
"""How many cells there are of each model."""

from collections import Counter

from lra.report.tables.render import Entry, Row, Table
from lra.results.records import ScoreRow, read_table


def seeds(scores):
    found = Counter(row["model"] for row in read_table(scores, ScoreRow).to_pylist())
    rows = [Row(model, [Entry(str(count))]) for model, count in found.items()]
    return Table("Cells.", ["cells"], rows, []), [dict(found)]
'''


def cells_of(model):
    return {
        f"{verb} {task}/{model}/seed{seed}"
        for verb in ("train", "evaluate")
        for task in ("listops", "pathfinder")
        for seed in (1, 2)
    }


def spans_of(model):
    return {f"span {task}/{model}/seed{n}" for task in ("listops", "pathfinder") for n in (1, 2)}


def points_of(model):
    return {f"speed and memory of {model}"}


def test_a_finished_experiment_has_nothing_to_do(checkout):
    assert "Nothing to be done" in checkout.run("-n")
    assert "Nothing to be done" in checkout.run()


def test_editing_a_mechanism_runs_its_cells_profiles_and_the_aggregates(checkout):
    checkout.edit("src/lra/attention/linear.py", "EPS = 1e-6", "EPS = 1e-5")
    own = cells_of("linear") | spans_of("linear") | points_of("linear")
    assert checkout.plan() == own | AFTER_SCORES | AFTER_PROFILES | AFTER_SPANS | FIGURES


def test_editing_how_spans_are_measured_runs_the_spans_and_their_figure(checkout):
    checkout.edit("src/lra/evaluation/attention_span.py", "SEED = 0", "SEED = 1")
    spans = spans_of("linear") | spans_of("local")
    assert checkout.plan() == spans | AFTER_SPANS


def test_editing_the_baselines_runs_them_and_the_tables_that_show_them(checkout):
    checkout.edit("src/lra/evaluation/baselines.py", "SEED = 0", "SEED = 1")
    own = {f"baselines of {task}" for task in ("listops", "pathfinder")}
    own |= {"page", "collect baselines", "table baselines", "table accuracy"}
    assert checkout.plan() == own
    checkout.run("baselines")
    rows = pq.read_table(checkout.folder / "results/tiny/baselines.parquet").to_pylist()
    assert [(r["task"], r["kind"], r["status"]) for r in rows] == [
        ("listops", "majority class", "ok"), ("listops", "root operator", "ok"),
        ("pathfinder", "majority class", "ok"), ("pathfinder", "pixels", "ok"),
    ]  # fmt: skip
    assert {r["n_train"] for r in rows} == {400, 200}


def test_spans_of_one_model_only(checkout):
    checkout.edit("config/tiny.yaml", "seeds:", "span:\n  models: [local]\nseeds:")
    (checkout.folder / "results/tiny/span.parquet").unlink()
    assert checkout.plan() == AFTER_SPANS
    checkout.run("span")
    table = pq.read_table(checkout.folder / "results/tiny/span.parquet")
    assert set(table["model"].to_pylist()) == {"local"}


def test_comments_docstrings_formatting_and_times_run_nothing(checkout):
    for file, old, new in (
        ("src/lra/attention/linear.py", "EPS = 1e-6", "EPS = 1e-6  # a comment"),
        ("src/lra/attention/linear.py", '"""Linear Transformer', '"""A docstring. Linear'),
        ("src/lra/models/classifier.py", "import torch\n", "import torch\n\n# another comment\n"),
        ("src/lra/training/loop.py", "PROGRESS_SECONDS = 10", "PROGRESS_SECONDS  =  10"),
        ("src/lra/cli/cells.py", "app = typer.Typer()\n", "app = typer.Typer()\nNEW = 1\n"),
        ("config/protocols/tiny.yaml", "title: tiny", "title: a better title"),
    ):
        checkout.edit(file, old, new)
    for path in checkout.folder.rglob("*"):
        if path.suffix in {".py", ".yaml", ".smk", ".arrow"} and path.is_file():
            os.utime(path)
    assert "Nothing to be done" in checkout.run("-n")


def test_editing_what_figures_share_draws_them_again_and_one_figures_module_that_alone(checkout):
    checkout.edit("src/lra/report/figures/ranks.py", "def ranks(", "NEW = 1\n\n\ndef ranks(")
    assert checkout.plan() == {"figure ranks", "page"}
    checkout.edit("src/lra/report/figures/style.py", "SMALL = 6.5", "SMALL = 6.0")
    assert checkout.plan() == FIGURES | {"page"}


def test_a_table_is_added_by_a_module_and_a_line_and_it_alone_is_made(checkout):
    checkout.write("src/lra/report/tables/seeds.py", SEEDS)
    line = 'Item("seeds", "Seeds", "tables.seeds", ("scores",)),\n'
    checkout.edit("src/lra/report/registry.py", "TABLES = [\n", f"TABLES = [\n    {line}")
    assert checkout.plan() == {"table seeds", "page"}
    checkout.run()
    text = (checkout.folder / "results/tiny/tables/seeds.csv").read_text()
    assert text == "linear,local\n4,4\n"


def test_changing_a_tasks_training_runs_its_cells_only(checkout):
    checkout.edit(
        "config/protocols/tiny.yaml", "  listops:\n", "  listops:\n    training: {steps: 22}\n"
    )
    trained = {job for job in checkout.plan() if job.startswith("train ")}
    assert trained == {f"train listops/{m}/seed{s}" for m in ("linear", "local") for s in (1, 2)}


def test_a_further_seed_trains_that_seed_only(checkout):
    trained = {j for j in checkout.plan("--config", "seeds=[1,2,3]") if j.startswith("train ")}
    assert trained == {
        f"train {t}/{m}/seed3" for t in ("listops", "pathfinder") for m in ("linear", "local")
    }


@pytest.mark.slow
def test_a_sweep_of_learning_rates_trains_the_new_cells_alone(checkout):
    checkout.edit("config/tiny.yaml", "seeds:", "rates: [1, 4]\nseeds:")
    trained = {job for job in checkout.plan() if job.startswith("train ")}
    assert trained == {
        f"train {task}/{model}@4/seed{seed}"
        for task in ("listops", "pathfinder") for model in ("linear", "local") for seed in (1, 2)
    }  # fmt: skip
    checkout.forget_tables()
    part = ("results/tiny/tables/rates.csv", "--config", "models=[linear]", "tasks=[listops]")
    checkout.run(*part)
    assert "Nothing to be done" in checkout.run("-n", *part)
    lines = (checkout.folder / part[0]).read_text().splitlines()
    assert [line.split(",")[2:5] for line in lines[1:]] == [
        ["linear", "1.0", "0.001"], ["linear", "4.0", "0.004"],
    ]  # fmt: skip


def test_fewer_models_train_nothing_and_leave_the_tables(checkout):
    checkout.forget_tables()
    planned = checkout.plan("--config", "models=[linear]")
    assert not {job for job in planned if job.startswith(("train", "evaluate", "speed and"))}
    checkout.run("results/tiny/scores.parquet", "--config", "models=[linear]")
    table = pq.read_table(checkout.folder / "results/tiny/scores.parquet")
    assert set(table["model"].to_pylist()) == {"linear"}


def test_other_data_trains_again_and_the_same_data_does_not(checkout):
    checkout.edit("config/datasets.yaml", "listops-tiny:\n", "listops-tiny:\n  seed: 7\n")
    planned = checkout.plan()
    assert "generate listops-tiny" in planned
    assert "generate pathfinder-tiny" not in planned


def test_making_the_same_data_again_trains_nothing(checkout):
    folder = checkout.folder / "results/data/listops-tiny"
    before = (folder / "train.arrow").read_bytes()
    (folder / "train.arrow").unlink()
    checkout.run("results/data/listops-tiny/train.arrow")
    assert (folder / "train.arrow").read_bytes() == before
    assert "Nothing to be done" in checkout.run("-n")


def test_a_changed_version_of_the_code_stops_a_job_that_was_planned_with_another(checkout):
    config = checkout.folder / "results/tiny/cells/listops/linear/seed1/config.yaml"
    command = [
        warm.python(), "-m", "lra.cli", "train", "--cell", str(config),
        "--data", "results/data/listops-tiny", "--out", "out", "--work", "work",
        "--fingerprint", "0123456789abcdef",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=checkout.folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": "src"},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("lra: the code changed after the plan was made")
    assert done.stderr.count("\n") == 1


def test_results_are_what_the_design_says(checkout):
    root = checkout.folder / "results/tiny"
    cell = root / "cells/pathfinder/local/seed2"
    assert {path.name for path in cell.iterdir()} == {
        "config.yaml", "checkpoint.safetensors", "history.parquet", "train.json", "score.json",
        "predictions.parquet",
    }  # fmt: skip
    assert not (root / "work").exists() or not list((root / "work").rglob("*.pt"))
    scores = pq.read_table(root / "scores.parquet").to_pylist()
    assert len(scores) == 8
    predictions = pq.read_table(cell / "predictions.parquet").to_pandas()
    row = next(
        r for r in scores if (r["task"], r["model"], r["seed"]) == ("pathfinder", "local", 2)
    )
    assert row["accuracy"] == pytest.approx(
        100 * (predictions.label == predictions.prediction).mean()
    )
    assert row["chance"] == pytest.approx(
        100 * predictions.label.value_counts(normalize=True).max()
    )
    assert (row["steps"], row["n_test"], row["status"]) == (20, 100, "ok")
    spans = pq.read_table(root / "span.parquet").to_pylist()
    assert len(spans) == 16  # 8 cells, by gradient: one layer and the mean
    assert all(0 < r["span"] < 2 * r["uniform"] and r["status"] == "ok" for r in spans)
    assert {r["samples"] for r in spans if r["task"] == "pathfinder"} == {50}
    for table in ("history", "speed", "memory"):
        assert len(pq.read_table(root / f"{table}.parquet")) > 0
    for name in ("accuracy", "efficiency"):
        for ending in ("csv", "md", "tex", "html"):
            assert (root / f"tables/{name}.{ending}").stat().st_size > 100
    for name in DRAWN:
        assert (root / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (checkout.folder / "results/data/pathfinder-tiny/contact_sheet.png").exists()
    manifest = json.loads((checkout.folder / "results/data/listops-tiny/dataset.json").read_text())
    assert manifest["splits"]["train"]["rows"] == 400
