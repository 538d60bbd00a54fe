"""200 tiny cells through Slurm: `python tests/benchmarks/many_cells_slurm.py [CELLS]`.

Starts a Slurm of its own (tests/cluster/slurm.py; wants root), trains CELLS seeds of one cell of 2 steps,
and prints the seconds, the seconds a job, and the jobs that are lost: submitted, and neither completed
nor still there. Expect 3 to 6 s a job on two cores, nearly all of it Snakemake's and torch's start.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "cluster"), str(TESTS.parent / "src")]

from remote import Remote  # noqa: E402
from slurm import Cluster, missing  # noqa: E402


def train_all(cells: int, folder: Path) -> None:
    cluster, checkout = Cluster(folder / "slurm"), Remote(folder / "checkout")
    checkout.site()
    config = ["tasks=[listops]", "models=[linear]", f"seeds={list(range(cells))}",
              "overrides={training: {steps: 2, eval_every: 2}}"]  # fmt: skip
    targets = [f"results/tiny/cells/listops/linear/seed{seed}/train.json" for seed in range(cells)]
    checkout.run("results/data/listops-tiny/dataset.json")
    try:
        cluster.start()
        start = time.perf_counter()
        checkout.finish(checkout.start(targets=targets, config=config), seconds=3600)
        taken = time.perf_counter() - start
        states = Counter(cluster.show(job)["JobState"] for job in cluster.jobs())
    finally:
        cluster.stop()
    done = sum((checkout.folder / target).exists() for target in targets)
    print(
        f"{cells} cells, {done} done, in {taken:.0f} s: {taken / cells:.1f} s a job; {dict(states)}"
    )


if __name__ == "__main__":
    if reason := missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "checkout").mkdir()
        train_all(int(sys.argv[1]) if len(sys.argv) > 1 else 200, Path(name))
