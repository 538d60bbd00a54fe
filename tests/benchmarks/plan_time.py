"""How long planning takes: `python tests/benchmarks/plan_time.py [config/paper.yaml]`.

Prints the seconds of `snakemake -n` from start to exit, best and median of five. Expect 3.5 s for
paper.yaml on one core of an AMD EPYC; a second of it is Snakemake's own start.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def seconds(config: str) -> float:
    command = [sys.executable, "-m", "snakemake", "-n", "--configfile", config]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    config = sys.argv[1] if len(sys.argv) > 1 else "config/paper.yaml"
    taken = [seconds(config) for _ in range(5)]
    print(f"{config}: best {min(taken):.2f} s, median {statistics.median(taken):.2f} s")
