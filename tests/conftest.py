"""Fixtures of several folders."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from checkout import Checkout
from tiny import SMALL_LISTOPS

# processes of two threads each would wait for one another on two cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A script's background job ignores Ctrl-C, and so would all processes of these tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs Slurm or a browser is slow by nature, and begins first with the workflow's tests: the
    longest at the end would leave the other processes without work."""
    first = ("cluster", "browser", "workflow")
    items.sort(key=lambda item: item.path.parent.name not in first)
    for item in items:
        if item.path.parent.name in ("cluster", "browser"):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests run in several processes, which share no fixture. All that needs the one Slurm of a
    host, which is idle most of the time, goes to one of them. So does each file whose fixtures take
    long. Tests are begun in the order of `pytest_collection_modifyitems`."""
    from xdist.scheduler import LoadScopeScheduling

    config.option.loadscopereorder = False

    together = (
        "tests/browser/", "tests/cluster/", "tests/unit/test_figures", "tests/unit/test_page.py",
        "tests/workflow/test_archived.py", "tests/workflow/test_environments.py",
        "tests/workflow/test_pathx.py", "tests/workflow/test_stop.py",
    )  # fmt: skip

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return next((each for each in together if nodeid.startswith(each)), nodeid)

    return Scheduling(config, log)
