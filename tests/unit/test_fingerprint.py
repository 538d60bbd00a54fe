"""What changes a fingerprint and what does not."""

from __future__ import annotations

import shutil

import pytest

from lra import attention
from lra.results.fingerprint import fingerprint, modules
from tiny import ROOT

TRAIN_LINEAR = ("lra.train", "lra.attention.linear")


@pytest.fixture
def source(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src")
    return tmp_path / "src"


def test_a_training_reads_its_own_mechanism_and_no_other():
    read = modules(*TRAIN_LINEAR)
    assert {"lra.train", "lra.model", "lra.batches", "lra.attention.base"} <= set(read)
    others = {f"lra.attention.{name}" for name in attention.names()} - {"lra.attention.linear"}
    assert not others & set(read)


@pytest.mark.parametrize("stage", ["figures", "tables", "collect", "records", "config", "cli"])
def test_a_training_does_not_read_later_stages(stage):
    assert f"lra.{stage}" not in modules(*TRAIN_LINEAR)


def test_comments_docstrings_and_formatting_change_nothing(source):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file = source / "lra/attention/linear.py"
    text = file.read_text().replace('"""Linear Transformer', '"""Another docstring', 1)
    text = text.replace("EPS = 1e-6", "EPS  =  1e-6  # another comment\n\n")
    file.write_text("# a comment\n" + text)
    assert fingerprint(*TRAIN_LINEAR, source=source) == before


@pytest.mark.parametrize("module", ["attention/linear", "model", "attention/base", "data/store"])
def test_a_change_of_code_anywhere_below_changes_it(source, module):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file = source / f"lra/{module}.py"
    file.write_text(file.read_text() + "\nNEW = 1\n")
    assert fingerprint(*TRAIN_LINEAR, source=source) != before


@pytest.mark.parametrize("module", ["attention/local", "figures", "records", "resolve"])
def test_a_change_elsewhere_does_not(source, module):
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file = source / f"lra/{module}.py"
    file.write_text(file.read_text() + "\nNEW = 1\n")
    assert fingerprint(*TRAIN_LINEAR, source=source) == before


def test_text_that_is_not_a_docstring_counts(source):
    file = source / "lra/attention/linear.py"
    before = fingerprint(*TRAIN_LINEAR, source=source)
    file.write_text(file.read_text().replace('INFO = Info("kernel"', 'INFO = Info("low rank"'))
    assert fingerprint(*TRAIN_LINEAR, source=source) != before
