"""What a plan says of files that are gone since their jobs ended, as a purged scratch leaves them.

Whatever an archive needs is an input of `all`, so Snakemake makes it again. It says nothing of
checkpoints, which nothing reads any more; nor that without its dataset.json a data set trains all
of its cells again, although the same data would be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lra.config.schema import Experiment
from lra.data.manifest import MANIFEST
from lra.planning.status import file
from lra.results import layout


def purged(results: Path, experiment: Experiment, datasets: Mapping[str, str]) -> list[str]:
    """One line of each kind: what is missing, and what to type; datasets: each task's."""
    root = results / experiment.experiment
    trained = [c for c in experiment.cells if file(root, layout.TRAIN_RECORD, c).exists()]
    lines = []
    for name in dict.fromkeys(datasets[cell.partition("/")[0]] for cell in trained):
        manifest = f"{layout.DATA}/{name}/{MANIFEST}"
        if not (results / "data" / name / MANIFEST).exists():
            lines.append(
                f"{manifest}: is missing, and its trained cells would run again; "
                f"make it first, then they stay: snakemake --cores all {manifest}"
            )
    weights = (file(root, layout.CHECKPOINT, cell) for cell in trained)
    if gone := [path for path in weights if not path.exists()]:
        lines.append(
            f"{gone[0]}{f' and {len(gone) - 1:,} more' if len(gone) > 1 else ''}: missing; "
            "tables and archives do not need them; to train these cells again, "
            "add the target: checkpoints"
        )
    return lines
