"""Jobs that a run forks from one process are those that it would start."""

from __future__ import annotations

import sys

from lra.core import fork_server

CELL = "results/tiny/cells/listops/linear/seed1"


def test_a_forked_training_has_the_bits_of_one_that_is_started(checkout):
    """The first run starts a server; to the second it is said that there is one, and none is."""
    checkout.edit("src/__main__.py", "main()", 'print("torch" in sys.modules)\nmain()')
    checkout.edit("src/__main__.py", "from lra", "import sys\nfrom lra")
    cells = CELL, CELL.replace("seed1", "seed2")
    asked = [*(f"{cell}/score.json" for cell in cells), "--forcerun", "train", "--cores", "2"]
    found = []
    for variables in ({}, {fork_server.VARIABLE: "nothing"}):
        done = checkout.snakemake(
            *asked, "--configfile", "config/tiny.yaml", env=variables, python=sys.executable
        )
        assert done.returncode == 0, done.stdout
        log = checkout.folder / "results/tiny/logs/train/listops/linear/seed1.log"
        weights = checkout.folder / CELL / "checkpoint.safetensors"
        found.append((log.read_text().splitlines()[0], weights.read_bytes()))
    (forked, first), (started, second) = found
    assert (forked, started) == ("True", "False")
    assert first == second
