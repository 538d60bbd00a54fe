"""Copies of a checkout in which the tiny experiment has run to its end."""

from __future__ import annotations

import shutil

import pytest

from checkout import Checkout


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy of the finished experiment, its times kept."""
    copy = Checkout.__new__(Checkout)
    copy.folder = tmp_path / "checkout"
    shutil.copytree(finished, copy.folder, symlinks=True)
    return copy
