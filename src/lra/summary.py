"""What is not ok at the end of a run: every such cell, why, and the line to run it again."""

from __future__ import annotations

import shlex
from itertools import product
from pathlib import Path

from lra.config import Experiment
from lra.errors import LRAError
from lra.records import ScoreRecord, TrainRecord, read_record


def text(results: Path, experiment: Experiment, arguments: list[str]) -> str:
    """A few lines for people; arguments: of the snakemake that ran the experiment.

    Cells without a record have failed or not run: the same arguments run those that were asked for.
    One with a status is finished for snakemake and must be forced; a timeout then goes on from its
    saved step.
    """
    command = shlex.join(["snakemake", *arguments])
    root = results / experiment.experiment
    cells = list(product(experiment.tasks, experiment.models, experiment.seeds))
    lines, waiting = [], []
    for task, model, seed in cells:
        name = f"{task}/{model}/seed{seed}"
        status, reason = _state(root, name)
        if status == "ok":
            continue
        if status == "not run":
            waiting.append(name)
            continue
        record = root / "cells" / name / "train.json"
        again = command
        if record.exists():  # first, for all that comes after `--` is a target
            again = shlex.join(["snakemake", f"--forcerun={record}", *arguments])
        lines += [f"  {name}  {status}: {reason}", f"    {again}"]
    if waiting:
        dashes = [] if "--" in arguments else ["--"]
        every = shlex.join(["snakemake", *arguments, *dashes, "cells"])
        lines += [f"  {name}  not run" for name in waiting] + [f"    {every}"]
    if not lines:
        return f"All {len(cells)} cells are ok."
    return "\n".join([f"Not ok, of {len(cells)} cells:", *lines])


def _state(root: Path, name: str) -> tuple[str, str]:
    """A cell's status and reason; `failed`, with the end of its log, where it has no record."""
    cell = root / "cells" / name
    for verb, file, kind in (
        ("train", "train.json", TrainRecord),
        ("evaluate", "score.json", ScoreRecord),
    ):
        if not (cell / file).exists():
            log = root / "logs" / verb / f"{name}.log"
            said = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
            return ("failed", f"{said[-1].strip()} ({log})") if said else ("not run", "")
        try:
            record = read_record(cell / file, kind)
        except LRAError as error:
            return "damaged", str(error)
        if record.status != "ok":
            return record.status, record.reason or "no reason given"
    return "ok", ""
