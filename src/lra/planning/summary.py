"""What is not ok at the end of a run: every such cell, why, and the line to run it again."""

from __future__ import annotations

import shlex
from pathlib import Path

from lra.config.schema import Experiment
from lra.core.errors import LRAError
from lra.planning.status import Files, look


def summary(results: Path, experiment: Experiment, arguments: list[str]) -> str:
    """A few lines for people; arguments: of the snakemake that ran the experiment.

    Cells without a record have failed or not run: the same arguments run those that were asked for.
    One with a status is finished for snakemake and must be forced; a timeout then goes on from its
    saved step.
    """
    command = shlex.join(["snakemake", *arguments])
    root = results / experiment.experiment
    lines, waiting = [], []
    for name in experiment.cells:
        reason = _reason(root, name)
        if reason == "not run":
            waiting.append(name)
        elif reason:
            again = command
            record = Files(root, name).trained
            if record.exists():  # first, for all that comes after `--` is a target
                again = shlex.join(["snakemake", f"--forcerun={record}", *arguments])
            lines += [f"  {name}  {reason}", f"    {again}"]
    if waiting:
        dashes = [] if "--" in arguments else ["--"]
        every = shlex.join(["snakemake", *arguments, *dashes, "cells"])
        lines += [f"  {name}  not run" for name in waiting] + [f"    {every}"]
    total = len(experiment.cells)
    if not lines:
        return f"All {total} cells are ok."
    return "\n".join([f"Not ok, of {total} cells:", *lines])


def _reason(root: Path, name: str) -> str | None:
    """Why a cell is not ok, once nothing runs any more; None where it is."""
    try:
        seen = look(root, name)
    except LRAError as error:
        return f"damaged: {error}"
    if seen.state == "done":
        return None
    if seen.reason:
        return seen.reason
    log = Files(root, name).log
    return f"failed: nothing recorded why, see {log}" if log.exists() else "not run"
