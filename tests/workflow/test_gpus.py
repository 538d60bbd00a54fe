"""As many GPU jobs at once as the GPUs may hold: with pretended devices."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from checkout import Checkout

CELLS = [f"results/tiny/cells/listops/linear/seed{seed}/train.json" for seed in (1, 2)]


def most_at_once(checkout: Checkout, gpu: str, *arguments: str) -> int:
    """How many trainings ran at the same time on a machine with one pretended GPU."""
    done = checkout.snakemake(
        *CELLS, "--configfile", "config/tiny.yaml", "--cores", "4", "--config", "device=auto",
        *arguments, env={"LRA_PRETEND_GPUS": gpu},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    running, most = set(), 0
    for started, ended in re.findall(
        r"^Job (\d+): train .*$|^Finished jobid: (\d+)", done.stdout, re.MULTILINE
    ):
        running = running | {started} if started else running - {ended}
        most = max(most, len(running))
    return most


def weights(checkout: Checkout) -> list[bytes]:
    folders = [checkout.folder / Path(cell).parent for cell in CELLS]
    return [(folder / "checkpoint.safetensors").read_bytes() for folder in folders]


def test_trainings_wait_for_the_only_gpu_or_share_it_with_the_same_bits(tmp_path):
    checkout, gpu = Checkout(tmp_path), f"test-{uuid.uuid4().hex}"
    assert most_at_once(checkout, gpu) == 1
    alone = weights(checkout)
    checkout.edit("config/site.yaml", "gpu_share: 1", "gpu_share: 2")
    # a cell of unknown size has its GPU alone
    again = ["--forcerun", "train"]
    assert most_at_once(checkout, gpu, *again) == 1
    counted = checkout.lra(
        "estimate", "config/tiny.yaml", "--write", "config/reference/estimates.csv",
        "--config", "device=auto",
    )  # fmt: skip
    assert counted.returncode == 0, counted.stderr
    assert most_at_once(checkout, gpu, *again) == 2
    assert weights(checkout) == alone
