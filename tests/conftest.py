"""Fixtures of several folders."""

from __future__ import annotations

import ast
import os
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from tiny import SMALL_LISTOPS

# processes of two threads each would wait for one another on two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("arena", deadline=None)  # this machine's speed is no property of the code
settings.load_profile("arena")
FINISHED = {"finished", "checkout", "archived"}  # fixtures of tests/workflow: a whole experiment


@pytest.fixture(scope="session")
def tiny_listops(tmp_path_factory) -> Path:
    """The folder of a ListOps data set that one can train on in seconds."""
    from lra.data.generate import generate_dataset

    folder = tmp_path_factory.mktemp("data") / "tiny"
    sizes = {"train": 2000, "val": 200, "test": 400}
    generate_dataset("listops", SMALL_LISTOPS, sizes, 0, folder)
    return folder


@cache
def parameters(path: Path) -> dict[str, set[str]]:
    """The fixtures that each test of a file names."""
    tree = ast.walk(ast.parse(path.read_text()))
    tests = [node for node in tree if isinstance(node, ast.FunctionDef)]
    return {test.name: {each.arg for each in test.args.args} for test in tests}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`make test` runs four processes, and processes share no fixture. All that needs the finished
    experiment goes to one of them, and all that needs the one Slurm of a host, which is idle most
    of the time; both first, as they are many."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file, test = nodeid.split("::")
            if file.startswith("tests/cluster/"):
                return "cluster"
            name = test.partition("[")[0]
            needs = parameters(config.rootpath / file).get(name, set()) & FINISHED
            return "finished" if needs else nodeid

    return Scheduling(config, log)
