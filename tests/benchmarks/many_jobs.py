"""What many jobs cost Snakemake: `python tests/benchmarks/many_jobs.py [number of jobs]`.

Prints the seconds of planning config/paper.yaml and the same with every mechanism (best of three),
and those of running jobs that do nothing (1,500 unless told) through the local executor, with the
overhead per job, by each of Snakemake's schedulers. Takes some three minutes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from plan_time import ROOT, seconds

NOTHING = """
rule all:
    input: expand("{{number}}.done", number=range({jobs}))

rule nothing:
    output: "{{number}}.done"
    log: "logs/{{number}}.log"
    benchmark: "benchmarks/{{number}}.tsv"
    threads: 1
    resources: mem_mb=1, runtime=1, gpu=0
    params: code="0123456789abcdef"
    message: "nothing {{wildcards.number}}"
    shell: "touch {{output}} 2>&1 | tee {{log}}"
"""


def with_every_mechanism(folder: Path) -> Path:
    """paper.yaml with all of config/models/, and their profiles."""
    experiment = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    experiment["models"] = sorted(path.stem for path in ROOT.glob("config/models/*.yaml"))
    path = folder / "every.yaml"
    path.write_text(yaml.safe_dump(experiment))
    return path


def run_nothing(folder: Path, jobs: int, scheduler: str) -> float:
    """Seconds from start to exit; raises where a job is lost."""
    (folder / "Snakefile").write_text(NOTHING.format(jobs=jobs))
    command = [sys.executable, "-m", "snakemake", "--cores", "all", "--scheduler", scheduler]
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    taken = time.perf_counter() - start
    if len(list(folder.glob("*.done"))) != jobs:
        raise SystemExit("a job was lost")
    return taken


if __name__ == "__main__":
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    with tempfile.TemporaryDirectory() as scratch:
        every = with_every_mechanism(Path(scratch))
        for name, config in (("paper.yaml", "config/paper.yaml"), ("every mechanism", str(every))):
            print(f"plan of {name}: {min(seconds(config) for _ in range(3)):.2f} s")
    for scheduler in ("greedy", "ilp"):
        with tempfile.TemporaryDirectory() as scratch:
            taken = run_nothing(Path(scratch), jobs, scheduler)
        print(f"{jobs:,} jobs, {scheduler}: {taken:.1f} s, {1000 * taken / jobs:.0f} ms a job")
