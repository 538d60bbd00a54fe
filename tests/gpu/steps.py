"""What `make gpu` does on a card: the most valuable step first, each with its minutes.

Minutes of trainings are planning.estimate's for an H100, and those of the profile follow from its
own settings. The others are guesses. None was measured on a card.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from lra.config.resolve import Arena
from lra.planning.estimate import CACHE, Estimates, read_cache
from lra.results import layout

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable
WORK = Path("results/card")  # logs, and what steps write before it is saved
SHORTEST = 2.0  # minutes for which a step that goes on later is worth starting
POINT = 15.0  # seconds of a profile point beside its measuring: two processes, two CUDA contexts
SCORING = 2.0  # minutes of a cell beside its training: five processes, the test split
TASKS = ("listops", "pathfinder")
PROTOCOLS = {"standard": ["experiment=standard", "protocol=standard"], "official": []}


@dataclass(frozen=True)
class Step:
    name: str
    what: str  # for people
    minutes: float
    command: list[str]
    saved: dict[str, Path] = field(default_factory=dict)  # name in the results -> what is written
    resumes: bool = False  # whether it goes on where it was cut
    basis: str = "guess"  # or estimate

    def fit(self, left: float) -> str:
        """How much of it is done in so many minutes: all, part or none."""
        if self.minutes <= left:
            return "all"
        return "part" if self.resumes and left >= SHORTEST else "none"


def tests(name: str, what: str, minutes: float, *chosen: str) -> Step:
    """A file of tests/gpu; what its tests measured becomes a csv."""
    found = WORK / f"{name}.xml"
    file = ROOT / f"tests/gpu/test_card_{name}.py"
    command = [PYTHON, "-m", "pytest", str(file), "-c", str(ROOT / "pyproject.toml")]
    command += ["-m", "", "-p", "no:cacheprovider", f"--junitxml={found}", *chosen]
    return Step(name, what, minutes, command, {f"{name}.csv": found})


def snakemake(configfile: str, *targets: str | Path, changes: list[str] | None = None) -> list[str]:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        os.path.relpath(ROOT / "Snakefile"),
    ]
    command += ["--cores", "all", "--configfile", os.path.relpath(ROOT / configfile)]
    config = ["--config", *changes] if changes else []
    return [*command, *config, "--", *map(str, targets)]


def attention(minutes: float, lengths: str, *mechanisms: str) -> Step:
    file, out = ROOT / "tests/benchmarks/attention_speed.py", WORK / "attention"
    command = [PYTHON, str(file), *mechanisms, "--lengths", lengths, "--resume"]
    made = [f"attention_speed.{end}" for end in ("md", "parquet")]
    what = "one layer of every mechanism beside its peer, 1K to 16K tokens, bfloat16"
    command += ["--out", str(out)]
    return Step("attention", what, minutes, command, {n: out / n for n in made}, resumes=True)


def table(experiment: str, minutes: float, command: list[str]) -> Step:
    """The table `efficiency` of an experiment's profile."""
    folder = Path("results") / experiment / layout.TABLE.format(table="efficiency")
    saved = {f"table2.{end}": folder.with_suffix(f".{end}") for end in ("md", "csv")}
    what = "speed and memory on the paper's terms (Table 2)"
    return Step("table2", what, minutes, command, saved, resumes=True, basis="estimate")


def cell(experiment: str, name: str, minutes: float, configfile: str, changes: list[str]) -> Step:
    """One training and its score; name: task/model/seed<k>."""
    folder = Path("results") / experiment / "cells" / name
    task, model, _ = name.split("/")
    said = f"{experiment}-{task}-{model}".replace("paper-", "official-")
    files = (layout.TRAIN_FILE, layout.SCORE_FILE)
    return Step(
        said, f"{said.replace('-', ', ', 2)}, one seed, full size", minutes,
        snakemake(configfile, folder / layout.SCORE_FILE, changes=changes),
        {f"cells/{said}.{file}": folder / file for file in files}, resumes=True, basis="estimate",
    )  # fmt: skip


def cells() -> list[Step]:
    """ListOps and Pathfinder of both protocols, model by model in the order of paper.yaml."""
    found = []
    cache = read_cache(ROOT / CACHE)
    for changes in PROTOCOLS.values():
        arena = Arena.read(ROOT / "config/paper.yaml", typed=changes)
        estimates, experiment = Estimates(arena, cache, Path("results")), arena.experiment
        for task in TASKS:
            for place, model in enumerate(experiment.models):
                one, _ = arena.resolve(task, model, experiment.seeds[0])
                costs = estimates.costs(one)
                minutes = SCORING + 60 * costs.hours if costs else float("inf")
                if costs and not costs.fits:
                    minutes = SCORING  # it ends with status oom
                where = experiment.experiment
                step = cell(where, one.name, minutes, "config/paper.yaml", changes)
                found.append((place, step))
    return [step for _, step in sorted(found, key=lambda each: each[0])]


def full() -> list[Step]:
    profile = Arena.read(ROOT / "config/table2.yaml")
    section = profile.experiment.profile
    points = len(profile.profile_rows()) * len(section.lengths)
    sets = [f"{layout.DATASET.format(dataset=name)}/dataset.json" for name in TASKS]
    table2 = "results/table2/tables/efficiency.md"
    return [
        tests("numerics", "every mechanism against the CPU, float32 and bfloat16; bits; waits", 5),
        tests("memory", "the allocator's peak against the estimate; out of memory", 5),
        tests("trainings", "bits twice and after a kill; locks; energy; out of memory", 15),
        attention(15, "1024,2048,4096,8192,16384"),
        table("table2", points * (2 * section.seconds + POINT) / 60,
              snakemake("config/table2.yaml", table2)),
        Step("data", "ListOps and Pathfinder at full size, made by the CPU", 10,
             snakemake("config/paper.yaml", *sets), resumes=True),
        *cells(),
    ]  # fmt: skip


def tiny() -> list[Step]:
    """The same kinds of steps, small enough for a CPU, to try the runner."""
    changes = [
        "experiment=card-tiny", "tasks=[listops]", "models=[linear]", "seeds=[1]", "device=auto",
        "profile={task: listops, lengths: [32], seconds: 0.05}",
        "overrides={training: {steps: 20, eval_every: 10}}",
    ]  # fmt: skip
    target = "results/card-tiny/tables/efficiency.md"
    config = "config/config.yaml"
    return [
        tests("numerics", "one mechanism", 0.2, "-k", "test_float32 and s5"),
        attention(0.2, "32", "transformer"),
        table("card-tiny", 0.3, snakemake(config, target, changes=changes)),
        cell("card-tiny", "listops/linear/seed1", 0.5, config, changes),
    ]
