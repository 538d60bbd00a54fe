"""What a user types, and parts of an experiment that has run: a plan, or one line and no traceback."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import warm
from checkout import Checkout

TINY = ["--configfile", "config/tiny.yaml"]
ODD_FILES = {
    "missing": (None, "no such file or directory"), "latin": (b"a: \xe9\n", "not UTF-8 text (byte 3)"),
    "binary": (bytes(range(256)), "not UTF-8 text"), "tab": (b"a:\n\t- b\n", "not YAML"),
    "empty": (b"", "is empty"), "list": (b"- a\n", "list where keys and values are wanted"),
    "word": (b"word\n", "str where keys and values are wanted"), "deep": (b"[" * 5000, "not YAML"),
    "object": (b"a: !!python/object:x {}\n", "not YAML"),
    "twice": (b"a: 1\na: 2\n", "line 2: 'a' stands in line 1 already"),
    "infinite": (b"a: .inf\n", "line 1: '.inf' is not a finite number"),
}  # fmt: skip
VALUES = {
    "seeds=3": "seeds: Input should be a valid list, not 3",
    "models=linear": "models: Input should be a valid list, not 'linear'",
    "unknown=1": "unknown: unknown key; choose from data_mirror,",
    "models=[]": "models: List should have at least 1 item, not []",
    "models=null": "models: Input should be a valid list, not None",
    "threads=yes": "threads: a number is wanted, not True",
    "seeds=[no]": "seeds: a number is wanted, not [False]",
    "threads=010": "threads: '010' is no decimal number",
    "models=[linear,linear]": "models: 'linear' is listed twice",
    f"seeds=[{2**64}]": f"seeds: '{2**64}' is more than 64 bits hold",
    f"seeds=[{'1' * 22}]": f"seeds: '{'1' * 22}' is more than 64 bits hold",
    "seeds=[-1]": "seeds.0: Input should be greater than or equal to 0, not -1",
    "experiment=data": "experiment: 'data' is no experiment: results/data is something else",
    "experiment=README.md": "experiment: 'README.md' is no experiment",
    "experiment=reference": "experiment: 'reference' is no experiment",
    f"experiment={'ab' * 128}": "experiment: String should have at most 64 characters, not 'abab",
    f"experiment={'a' * 40}": f"experiment: '{'a' * 40}' repeats a part twenty times",
    "experiment=a/b": "experiment: String should match pattern",
    "overrides={training: {learning_rate: .inf}}": "overrides: '.inf' is not a finite number",
    "overrides={training: {learning_rate: 'inf'}}": "overrides.training.learning_rate: Input should be a finite number",
    "overrides={encoder: {options: 5}}": "overrides.encoder: options: keys and values are wanted, not 5",
    "overrides={training: {steps: 4, steps: 5}}": "overrides: 'steps' stands in line 1 already",
    "profile={lengths: [32, 32]}": "profile.lengths: 32 is listed twice",
    "profile={lengths: []}": "profile.lengths: List should have at least 1 item, not []",
    "span={models: []}": "span.models: List should have at least 1 item, not []",
    "generate_workers=100000": "generate_workers: Input should be less than or equal to 1024",
    "models=['my linear']": "models.0: String should match pattern",
    "models=['a,b']": "models.0: String should match pattern",
    "models=[-x]": "models.0: String should match pattern",
    "models=[..]": "models.0: String should match pattern",
    "cells": "'cells' is not name=value; a target comes before --config or after --",
    "=3": "'=3' is not name=value",
}  # fmt: skip


def refused(checkout: Checkout, *arguments: str) -> str:
    """The one line of a plan that is refused before it is made."""
    done = checkout.snakemake("-n", *arguments)
    snakemakes_own = ("Using workflow specific profile", "Config file ")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(snakemakes_own)]
    assert done.returncode == 1, done.stdout
    assert len(lines) == 1, done.stdout
    return lines[0]


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> Checkout:
    """A checkout in which nothing runs."""
    return Checkout(tmp_path_factory.mktemp("planned") / "checkout")


@pytest.mark.slow
def test_each_odd_configfile_is_one_line(planned):
    for name, (content, said) in ODD_FILES.items():
        path = planned.folder / f"config/{name}.yaml"
        if content is not None:
            path.write_bytes(content)
        line = refused(planned, "--configfile", f"config/{name}.yaml")
        assert line.startswith(f"lra: config/{name}.yaml: {said}")
    assert refused(planned, "--configfile", "config") == "lra: config: is a directory"
    assert "config/list.yaml" in refused(planned, *TINY, "config/list.yaml")


def test_each_odd_value_is_one_line_that_blames_the_command_line(planned):
    values = list(VALUES.items())
    for value, said in values if os.environ.get("LRA_THOROUGH") else values[::3]:
        assert refused(planned, *TINY, "--config", value).startswith(f"lra: --config: {said}")
    print(f"{len(values)} values")


TWICE = {
    ("--config", "seeds=[1]", "--config", "seeds=[2]"): "--config: stands twice",
    ("-C", "seeds=[1]", "--config=models=[local]"): "--config: stands twice",
    ("-C", "seeds=3"): "--config: seeds: Input should be a valid list, not 3",
    ("-C", "seeds=[1]", "seeds=[2]"): "--config: 'seeds' is given twice",
    ("--configfile", "config/config.yaml"): "--configfile: stands twice",
}


def test_what_snakemake_would_leave_out_is_one_line(planned):
    """It takes the last place of an option alone, and the last value of a key."""
    for typed, said in TWICE.items():
        assert refused(planned, *TINY, *typed).startswith(f"lra: {said}")


def test_a_target_after_the_configfile_is_told_its_place(planned):
    line = refused(planned, *TINY, "cells")
    assert line.startswith("lra: cells: no such file or directory; a target comes before")


def test_an_empty_argument_is_one_line(planned):
    assert refused(planned, "", *TINY).startswith("lra: snakemake: an argument is empty")


def test_a_plan_whose_reader_leaves_has_no_traceback(planned):
    command = f"{warm.python()} -m snakemake -n {' '.join(TINY)} | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=planned.folder, text=True, capture_output=True
    )
    assert "Using workflow specific profile" in done.stderr
    assert "Traceback" not in done.stderr


def test_values_inside_lists_and_mappings_are_numbers(planned):
    options = "overrides={encoder: {options: {block_size: 4}}}"
    plan = planned.plan("--config", "models=[local]", "seeds=[3]", options)
    assert "train listops/local/seed3" in plan


PARTS = {
    "models=[linear]": "local", "seeds=[2]": "1", "tasks=[pathfinder]": "listops",
    "profile={lengths: [64]}": "32", "span={models: [local]}": "linear",
}  # fmt: skip


def test_a_part_never_replaces_the_tables_of_the_whole(checkout):
    tables = sorted((checkout.folder / "results/tiny").glob("*.parquet"))
    before = [table.read_bytes() for table in tables]
    for part, lost in PARTS.items():
        done = checkout.snakemake(*TINY, "--cores", "2", "--config", part)
        assert done.returncode == 1
        *_, line = done.stdout.splitlines()
        assert re.match(
            r"lra: results/tiny/\w+\.parquet: has \d+ entries that this run leaves", line
        )
        assert lost in line.split("the first is ")[1].split(";")[0].split("/")
    assert [table.read_bytes() for table in tables] == before


def test_a_part_has_tables_under_a_name_of_its_own_and_cells_need_none(checkout):
    assert checkout.plan("--config", "models=[linear]", "--", "cells") == set()
    more = checkout.plan("--config", "models=[linear,local,set]")
    assert {job.split("/")[1] for job in more if job.startswith("train")} == {"set"}
    own = checkout.plan("--config", "models=[linear]", "experiment=own", "seeds=[1]")
    assert "table accuracy" in own and "train listops/linear/seed1" in own


def test_tables_get_smaller_once_they_are_deleted(checkout):
    for table in (checkout.folder / "results/tiny").glob("*.parquet"):
        table.unlink()
    assert "table accuracy" in checkout.plan("--config", "models=[linear]")
