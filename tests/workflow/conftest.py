"""A checkout in which the tiny experiment has run to its end."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from checkout import Checkout


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished experiment, one for all processes; tests work in copies of it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each has a folder of its own in that of the run
        base = base.parent
    log = base / "finished/run.log"
    with FileLock(base / "finished.lock"):
        if not log.exists():
            shutil.rmtree(log.parent, ignore_errors=True)
            log.parent.mkdir()
            log.write_text(Checkout(log.parent).run())
    return log.parent


@pytest.fixture
def checkout(finished, tmp_path) -> Checkout:
    """A copy of the finished experiment, its times kept."""
    copy = Checkout.__new__(Checkout)
    copy.folder = tmp_path / "checkout"
    shutil.copytree(finished, copy.folder, symlinks=True)
    return copy
