"""Fixtures of several folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tiny import SMALL_LISTOPS

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


def pytest_collection_modifyitems(items):
    """`make test` runs two processes: what needs the finished experiment of tests/workflow goes to
    one of them, first, as it takes longest."""
    for item in items:
        if "workflow" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("workflow"))
    items.sort(key=lambda item: "workflow" not in item.path.parts)
