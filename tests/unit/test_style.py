"""The code is as its linters want it."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tiny import ROOT

WORKFLOW = ["Snakefile", *(str(p.relative_to(ROOT)) for p in ROOT.glob("workflow/rules/*.smk"))]
BIN = Path(sys.executable).parent
MODES = ("r", "w", "a", "x", "r+", "w+")  # of text


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


def without_encoding(tree: ast.AST) -> list[int]:
    """Lines that read or write text in whatever encoding the user's locale has."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or "encoding" in {k.arg for k in node.keywords}:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        place = 0 if isinstance(node.func, ast.Attribute) else 1  # of the mode of an open
        mode = getattr(node.args[place], "value", None) if len(node.args) > place else None
        if name in ("read_text", "write_text") or (name == "open" and mode in MODES):
            found.append(node.lineno)
    return found


def test_text_is_read_and_written_as_utf_8_whatever_the_locale():
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in ROOT.glob("src/**/*.py")
        if (lines := without_encoding(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {}
    for text in ("p.read_text()", "p.write_text('x')", "open(p, 'w')", "p.open('r')"):
        assert without_encoding(ast.parse(text)) == [1]
    for text in ("p.read_text(encoding='utf-8')", "open(p, 'rb')", "p.open('x', encoding='utf-8')"):
        assert without_encoding(ast.parse(text)) == []


def contract(folder: Path) -> subprocess.CompletedProcess:
    """import-linter's finding about the packages in a folder, by our pyproject.toml."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"}
    command = [BIN / "lint-imports", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_a_package_imports_only_from_those_below_it(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    kept = contract(tmp_path)
    assert kept.returncode == 0, kept.stdout
    assert "1 kept, 0 broken" in kept.stdout
    file = tmp_path / "src/lra/stats/paired.py"
    file.write_text(file.read_text() + "\nfrom lra.report import registry\n")
    broken = contract(tmp_path)
    assert broken.returncode == 1
    assert "lra.stats is not allowed to import lra.report" in broken.stdout


def test_no_module_lies_directly_below_the_package():
    assert [path.name for path in (ROOT / "src/lra").glob("*.py")] == ["__init__.py"]


@pytest.fixture
def environment():
    """envs/environment.py"""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "envs/environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_environments_are_made_from_the_lock(environment):
    texts = [(ROOT / "envs" / name).read_text() for name in ("requirements.txt", "torch-cuda.txt")]
    for name, made in (("environment.yaml", "environment"), ("lra.def", "definition")):
        assert (ROOT / "envs" / name).read_text() == getattr(environment, made)(*texts), name
    assert environment.divided("".join(texts)) == tuple(texts)


def test_the_lock_has_a_hash_of_every_package_and_every_dependency_of_ours(environment):
    locked = {}
    for name in ("requirements.txt", "torch-cuda.txt"):
        text = (ROOT / "envs" / name).read_text()
        locked |= environment.pins(text)
        blocks = re.split(r"\n(?=[a-z])", text, flags=re.IGNORECASE)[1:]
        assert len(blocks) == len(environment.pins(text))
        assert all("--hash=sha256:" in block for block in blocks), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    names = {re.match(r"[\w-]+", entry)[0] for entry in wanted}
    assert names <= set(locked), "run 'make lock'"
    version = locked["torch"]
    assert f"torch=={version}" in project["dependencies"]
    assert f"torch=={version})" in (ROOT / "Makefile").read_text()
