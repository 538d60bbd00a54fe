"""A checkout in which the tiny experiment has run to its end."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from checkout import Checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished experiment; tests work in copies of it."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    (checkout.folder / "run.log").write_text(checkout.run())
    return checkout.folder


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy of the finished experiment, its times kept."""
    copy = Checkout.__new__(Checkout)
    copy.folder = tmp_path / "checkout"
    shutil.copytree(finished, copy.folder, symlinks=True)
    return copy
