"""What is not ok at the end of a run: every such cell, why, and the line to run it again."""

from __future__ import annotations

import shlex
from itertools import product
from pathlib import Path

from lra.config import Experiment
from lra.errors import LRAError
from lra.records import ScoreRecord, TrainRecord, read_record


def text(results: Path, experiment: Experiment, command: str) -> str:
    """A few lines for people; command: what ran the experiment, a snakemake command line.

    Cells without a record have failed or not run: the command itself runs them. One with a status
    is finished for snakemake and must be forced; a timeout then goes on from its saved step.
    """
    root = results / experiment.experiment
    cells = list(product(experiment.tasks, experiment.models, experiment.seeds))
    lines, waiting = [], 0
    for task, model, seed in cells:
        name = f"{task}/{model}/seed{seed}"
        status, reason = _state(root, name)
        if status == "ok":
            continue
        if status == "not run":
            waiting += 1
            continue
        record = root / "cells" / name / "train.json"
        again = f" --forcerun {shlex.quote(str(record))}" if record.exists() else ""
        lines += [f"  {name}  {status}: {reason}", f"    {command}{again}"]
    if waiting:
        lines += [f"  {waiting} not run", f"    {command}"]
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
            said = log.read_text().strip().splitlines() if log.exists() else []
            return ("failed", f"{said[-1].strip()} ({log})") if said else ("not run", "")
        try:
            record = read_record(cell / file, kind)
        except LRAError as error:
            return "damaged", str(error)
        if record.status != "ok":
            return record.status, record.reason or "no reason given"
    return "ok", ""
