"""What the terminal shows at the end fits into it and says what was found."""

from __future__ import annotations

import pytest
from fabricated import PAPER, TASKS, experiment

from lra.report import registry
from lra.report.glance import WIDTH, glance
from lra.report.tables.write import write
from lra.results.records import ScoreRow, read_table, write_rows


def shown(folder, **changes) -> list[str]:
    experiment(folder, **changes)
    write(registry.table("accuracy"), folder, folder / "tables/accuracy", PAPER)
    lines = glance(folder).splitlines()
    assert not [line for line in lines[:-1] if len(line) > WIDTH]
    assert "<" not in "".join(lines[:-1])
    return lines


THREE = {"models": ["transformer", "linear", "local"]}


def test_two_tasks_have_means_with_their_spread_and_a_star_for_the_best(tmp_path):
    lines = shown(tmp_path, tasks=["text", "image"], **THREE)
    rows = {line.split()[0]: line for line in lines if line}
    assert rows["chance"].split() == ["chance", "50.0", "10.0", "-"]
    assert "±" in rows["transformer"] and rows["linear"].count("*") + rows["local"].count("*") == 3
    assert any(line.startswith("text: best is ") and "above chance" in line for line in lines)
    assert lines[-1] == f"Tables and figures: {tmp_path}"


def test_six_tasks_fit_into_the_width(tmp_path):
    lines = shown(tmp_path, tasks=list(TASKS), **THREE)
    (head,) = (line.split() for line in lines if "retrieval " in line and "best" not in line)
    assert head == list(TASKS)  # whole names, and no average
    assert any(line.split()[:1] == ["transformer"] and "±" not in line for line in lines)


def test_two_seeds_are_both_shown_and_a_star_needs_a_best_that_is_told_apart(tmp_path):
    tasks = ["listops", "text", "image", "pathfinder"]
    lines = shown(tmp_path, tasks=tasks, seeds=(1, 2), **THREE)
    text = " ".join(lines)
    assert "2 seeds; * best, where told apart from the second" in text and "±" not in text
    (row,) = (line for line in lines if line.startswith("local "))
    assert row.count(" / ") == 5  # the average, too
    assert any("points above chance" in line for line in lines)
    rows = read_table(tmp_path / "scores.parquet", ScoreRow).to_pylist()
    rows = [r | {"accuracy": 60.0 + (r["model"] == "local")} for r in rows]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    write(registry.table("accuracy"), tmp_path, tmp_path / "tables/accuracy", PAPER)
    text = glance(tmp_path)
    assert "text: best is local, 11.0 points above chance; no other model is told apart" in text
    assert text.count("*") == 1  # in the heading


@pytest.mark.parametrize("what", ["speed", "memory"])
def test_the_fastest_and_the_leanest_at_the_longest_length(tmp_path, what):
    lines = shown(tmp_path, tasks=["text"], **THREE)
    word = {"speed": "Fastest", "memory": "Leanest"}[what]
    (line,) = (line for line in lines if line.startswith(word))
    assert "in training at 4,096 tokens: l" in line and "× the" in line


def test_what_failed_and_what_stayed_at_chance_is_said(tmp_path):
    bad = {("text", "local", 1): "diverged", ("transformer", 4096): "oom"}
    lines = shown(tmp_path, tasks=["text", "pathx"], bad=bad, **THREE)
    assert "2/3 ok" in next(line for line in lines if line.startswith("local"))
    assert any(line.startswith("pathx: no model is above chance") for line in lines)
    (tmp_path / "speed.parquet").unlink()
    assert not any(line.startswith("Fastest") for line in glance(tmp_path).splitlines())


def test_one_seed_has_no_mean_and_no_spread(tmp_path):
    lines = shown(tmp_path, tasks=["text", "image"], seeds=(0,), **THREE)
    assert "one seed; * best" in " ".join(lines) and "±" not in "".join(lines)
