"""Fixtures of several folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tiny import SMALL_LISTOPS

# two processes of two threads each would wait for one another on two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("arena", deadline=None)  # this machine's speed is no property of the code
settings.load_profile("arena")


@pytest.fixture(scope="session")
def tiny_listops(tmp_path_factory) -> Path:
    """The folder of a ListOps data set that one can train on in seconds."""
    from lra.data.generate import generate_dataset

    folder = tmp_path_factory.mktemp("data") / "tiny"
    sizes = {"train": 2000, "val": 200, "test": 400}
    generate_dataset("listops", SMALL_LISTOPS, sizes, 0, folder)
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`make test` runs two processes: all that needs tests/workflow's finished experiment goes to one
    of them, and first, as it takes longest. (Its own --dist loadgroup does nothing under pytest 9.)"""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "workflow" if nodeid.startswith("tests/workflow/") else nodeid

    return Scheduling(config, log)
