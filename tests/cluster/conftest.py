"""A Slurm for the session, and a checkout whose data is made, so that tests submit few jobs."""

from __future__ import annotations

import shutil

import pytest
from remote import CELL, LONG, Remote
from slurm import Cluster, missing


@pytest.fixture(scope="session")
def daemons(tmp_path_factory):
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def emptied(cluster: Cluster) -> bool:
    """Cancel what is there; a job that is just requeued is there only at the next look."""
    if left := cluster.jobs("PENDING", "RUNNING", "SUSPENDED"):
        cluster.ask("scancel", *left, check=False)
    return not left and not cluster.jobs("COMPLETING")


@pytest.fixture
def slurm(daemons) -> Cluster:
    """Every node up, the queue empty."""
    daemons.start()
    yield daemons
    daemons.wait(lambda: emptied(daemons))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Remote:
    """The long cell trained here, without Slurm."""
    checkout = Remote(tmp_path_factory.mktemp("undisturbed"))
    checkout.site()
    checkout.run("--config", *LONG, "--", f"results/tiny/{CELL}/train.json")
    return checkout


@pytest.fixture
def remote(slurm, undisturbed, tmp_path) -> Remote:
    """The data is there, the cell is not. Its snakemakes end before the queue is emptied."""
    copy = Remote.__new__(Remote)
    copy.folder, copy.processes = tmp_path / "checkout", []
    shutil.copytree(undisturbed.folder, copy.folder, symlinks=True)
    shutil.rmtree(copy.folder / "results/tiny")
    shutil.rmtree(copy.folder / ".snakemake/locks", ignore_errors=True)
    yield copy
    copy.kill_all()
