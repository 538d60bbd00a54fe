"""The end of a run: each cell that is not ok, the reason, and the command that runs it again."""

from __future__ import annotations

import shlex
from pathlib import Path

from lra.config.schema import Experiment
from lra.core.errors import LRAError
from lra.planning.status import file, look
from lra.results import layout


def summary(results: Path, experiment: Experiment, arguments: list[str]) -> str:
    """A few lines for people; arguments: of the snakemake that ran the experiment.

    The same arguments run cells that have no record. A cell whose training ended with a status is
    finished for Snakemake and must be forced; after a timeout it goes on from its saved step.
    """
    root = results / experiment.experiment
    lines, waiting = [], []
    for name in experiment.cells:
        record = file(root, layout.TRAIN_RECORD, name)
        log = file(root, layout.log("train", layout.NAME), name)
        try:
            seen = look(root, name)
            reason, forced = seen.reason, seen.bad_status is not None
        except LRAError as error:
            seen, reason, forced = None, f"damaged: {error}", True
        if seen and seen.state == "done":
            continue
        if not reason and not log.exists():
            waiting.append(name)
            continue
        force = [f"--forcerun={record}"] if forced else []  # first: after `--` come targets
        lines += [
            f"  {name}  {reason or f'ended without a recorded reason, see {log}'}",
            f"    {shlex.join(['snakemake', *force, *arguments])}",
        ]
    if waiting:
        dashes = [] if "--" in arguments else ["--"]
        lines += [f"  {name}  not run" for name in waiting]
        lines.append(f"    {shlex.join(['snakemake', *arguments, *dashes, 'cells'])}")
    total = len(experiment.cells)
    return (
        "\n".join([f"Not ok, of {total} cells:", *lines]) if lines else f"All {total} cells are ok."
    )
