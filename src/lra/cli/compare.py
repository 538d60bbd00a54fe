"""The verb that compares two experiments."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from lra.cli.options import PEOPLE
from lra.core.errors import ends_in_one_line

app = typer.Typer()
Side = typer.Argument(help="folder of an experiment (results/quick), or an archive of one")


@app.command(rich_help_panel=PEOPLE)
def compare(
    a: Annotated[Path, Side],
    b: Annotated[Path, Side],
    as_json: Annotated[bool, typer.Option("--json", help="everything, for machines")] = False,
) -> None:
    """Say which cells of two experiments differ, by how much, whether significantly, and why.

    Exit status: 0 where they agree; 1 where a status changed, or an accuracy differs significantly
    or cannot be tested; 2 where they cannot be compared.
    """
    from lra.compare import text
    from lra.compare.differences import compare as compared
    from lra.compare.experiment import opened

    with ends_in_one_line(status=2), opened(a) as ours, opened(b) as theirs:
        found = compared(ours, theirs)
        width = shutil.get_terminal_size().columns
        print(text.as_json(found) if as_json else text.text(found, width))
    raise typer.Exit(0 if found.agree else 1)
