"""Every table and figure of an experiment in which no mechanism learned, or none ended."""

import pytest
from drawn import words
from fabricated import THREE, answers, experiment, table

from lra.report import registry
from lra.results.records import ScoreRow, read_table, write_rows

TASKS = ["text", "image"]
NONE_OK = {(task, model, seed): "oom" for task in TASKS for model in THREE for seed in (0, 1)}


@pytest.fixture(scope="module", params=["at-chance", "oom"])
def nothing(request, tmp_path_factory):
    """The folder of such an experiment."""
    root = tmp_path_factory.mktemp(request.param)
    bad = NONE_OK if request.param == "oom" else {}
    experiment(root, models=THREE, tasks=TASKS, seeds=(0, 1), bad=bad)
    rows = read_table(root / "scores.parquet", ScoreRow).to_pylist()
    for row in rows:
        row["accuracy"] = row["chance"] if row["status"] == "ok" else None
    write_rows(root / "scores.parquet", rows, ScoreRow)
    answers(root)
    return root


@pytest.mark.parametrize("name", [item.name for item in registry.TABLES])
def test_table(nothing, name):
    _, markdown = table(name, nothing)
    assert markdown and "nan" not in markdown


@pytest.mark.parametrize("name", [item.name for item in registry.FIGURES])
def test_figure(nothing, name):
    said = words(name, nothing)
    assert said and "nan" not in said
