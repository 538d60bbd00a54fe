"""Figures that several files look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn import files
from fabricated import LOST, THREE, experiment

from lra.report import registry


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """The folder of an experiment of three models with losses, and its figures."""
    folder = tmp_path_factory.mktemp("three")
    experiment(folder, models=THREE, tasks=["text", "image"], seeds=(0, 1), bad=LOST, joules=2e5)
    for item in registry.FIGURES:
        files(item.name, folder)
    return folder
