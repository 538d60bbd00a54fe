"""The code is as its linters want it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tiny import ROOT

WORKFLOW = ["Snakefile", *(str(p.relative_to(ROOT)) for p in ROOT.glob("workflow/rules/*.smk"))]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "src", "tests"],
        ["ruff", "format", "--check", "src", "tests"],
        ["snakefmt", "--check", *WORKFLOW],
        ["snakemake", "--lint"],
    ],
    ids=["ruff", "ruff-format", "snakefmt", "snakemake-lint"],
)
def test_linters_find_nothing(command):
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_conda_environment_is_made_from_the_lock():
    spec = importlib.util.spec_from_file_location("environment", ROOT / "envs/environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "envs/environment.yaml").read_text() == module.environment(), "run 'make lock'"
