"""The registry of tables and figures: complete, light, and each entry with a fingerprint of its own."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lra.cli.app import app
from lra.core.unique import unique
from lra.report import registry
from lra.report.item import PARQUET
from tiny import ROOT

ITEMS = unique(
    [*registry.TABLES, *registry.FIGURES, *registry.TOKEN_TABLES, *registry.TOKEN_FIGURES]
)
STAGES = """
import json
from lra.report import registry
from lra.results.fingerprint import stage
both = {"table": registry.TABLES, "figure": registry.FIGURES}
print(json.dumps({f"{kind} {i.name}": stage(kind, i.module) for kind in both for i in both[kind]}))
"""


def fingerprints(source) -> dict[str, str]:
    """Of every table and figure, by the code in a folder."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, "-c", STAGES], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.module}.{item.name}")
def test_every_entry_has_its_function_which_takes_what_it_reads(item):
    function = getattr(importlib.import_module(f"lra.report.{item.module}"), item.name)
    assert len(inspect.signature(function).parameters) == len(item.reads)
    assert set(item.reads) <= {*PARQUET, "reference", "efficiency", "cells", "data"}


def test_planning_with_the_registry_imports_nothing_heavy():
    heavy = {"matplotlib", "numpy", "pandas", "pyarrow", "great_tables", "scipy"}
    code = f"import sys; import lra.report.registry; print({heavy} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.stdout.decode().strip() == "set()", done.stderr.decode()


def test_an_edited_module_changes_the_fingerprint_of_its_own_figure_or_table_alone(tmp_path):
    source = tmp_path / "src"
    shutil.copytree(ROOT / "src", source)
    before = fingerprints(source)
    for module, changed in (
        ("figures/span", {"figure span"}),
        ("figures/performance", {"figure performance"}),
        ("figures/efficiency", {"figure speed", "figure memory"}),
        ("tables/span", {"table span"}),
        ("figures/style", {name for name in before if name.startswith("figure ")}),
        ("tables/render", {name for name in before if name.startswith("table ")}),
        ("html/__init__", {name for name in before if name.startswith("table ")}),
        ("page", set()),
        ("registry", set()),
    ):
        file = source / f"lra/report/{module}.py"
        text = file.read_text()
        file.write_text(f"{text}\nNEW = 1\n")
        after = fingerprints(source)
        assert {name for name in before if after[name] != before[name]} == changed, module
        file.write_text(text)


@pytest.mark.parametrize(
    ("verb", "name", "near"), [("tables", "acuracy", "accuracy"), ("figure", "sped", "speed")]
)
def test_an_unknown_name_is_one_line(tmp_path, verb, name, near):
    where = ["--root", str(tmp_path), "--stem", str(tmp_path / "x")]
    done = CliRunner().invoke(app, [verb, name, *where])
    assert f"lra {verb}: '{name}' is unknown; did you mean '{near}'?" in str(done.exception)
