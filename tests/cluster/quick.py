"""The quick experiment through `--profile slurm`, to its archive, on a Slurm of this host.

    python tests/cluster/quick.py FOLDER [ARGUMENT OF SNAKEMAKE ...]

FOLDER is new; the checkout and Slurm's files go there. Wants root, Debian's slurm-wlm and munge. Its
profiles are of a machine that does other things.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import yaml  # noqa: E402
from slurm import OFTEN, Cluster, missing  # noqa: E402

from checkout import Checkout, commit_all  # noqa: E402

SITE = {"cpu_partition": "cpu", "gpu_partition": "gpu", "account": "main", "max_memory_gb": 4.0,
        "seeds_together": True}  # fmt: skip


def main(folder: Path, arguments: list[str]) -> None:
    if reason := missing():
        raise SystemExit(reason)
    (folder / "checkout").mkdir(parents=True)
    checkout = Checkout(folder / "checkout")
    checkout.write("config/site.yaml", yaml.safe_dump(SITE))
    commit_all(checkout.folder)
    cluster = Cluster(folder / "slurm")
    began = time.monotonic()
    try:
        cluster.start()
        command = [sys.executable, "-m", "snakemake", "all", "report", "archive"]
        command += ["--cores", "all", "--profile", "slurm", *OFTEN]
        subprocess.run([*command, *arguments], cwd=checkout.folder, check=True)
        jobs = cluster.jobs()
        left = cluster.jobs("PENDING", "RUNNING", "SUSPENDED")
        assert not left, left
    finally:
        cluster.stop()
    archive = checkout.folder / "results/quick/archive/quick.zip"
    subprocess.run([Path(sys.executable).with_name("lra"), "verify", archive], check=True)
    print(f"{len(jobs)} jobs of Slurm in {(time.monotonic() - began) / 60:.1f} min")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
