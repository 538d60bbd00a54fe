"""As many GPU jobs at once as there are GPUs: with pretended devices."""

from __future__ import annotations

import re
import uuid

from checkout import Checkout


def test_trainings_wait_for_the_only_gpu(tmp_path):
    checkout = Checkout(tmp_path)
    cells = [f"results/tiny/cells/listops/linear/seed{seed}/train.json" for seed in (1, 2)]
    done = checkout.snakemake(
        *cells, "--configfile", "config/tiny.yaml", "--cores", "4", "--config", "device=auto",
        env={"LRA_PRETEND_GPUS": f"test-{uuid.uuid4().hex}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    running, most = set(), 0
    for started, ended in re.findall(
        r"^Job (\d+): train .*$|^Finished jobid: (\d+)", done.stdout, re.MULTILINE
    ):
        running = running | {started} if started else running - {ended}
        most = max(most, len(running))
    assert most == 1
