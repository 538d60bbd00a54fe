"""The verb that compares two experiments."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from lra.core.errors import LRAError
from lra.core.progress import say

app = typer.Typer()
Side = typer.Argument(help="folder of an experiment (results/quick), or an archive of one")


@app.command()
def compare(
    a: Annotated[Path, Side],
    b: Annotated[Path, Side],
    as_json: Annotated[bool, typer.Option("--json", help="everything, for machines")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="one row a (task, model)")] = False,
) -> None:
    """Say which cells of two experiments differ, by how much, whether significantly, and why.

    Exit status 0 where they agree, 1 where a status changed or an accuracy differs significantly
    or cannot be tested, 2 where they could not be compared.
    """
    from lra.compare import text
    from lra.compare.differences import compare as compared
    from lra.compare.experiment import finished

    try:
        if as_json and as_csv:
            raise LRAError("--json, --csv: choose one")
        with finished(a) as ours, finished(b) as theirs:
            found = compared(ours, theirs)
            if as_json:
                print(text.machine_json(found))
            elif as_csv:
                print(text.machine_csv(found), end="")
            else:
                print(text.text(found, shutil.get_terminal_size().columns))
    except LRAError as error:
        say(f"lra: {error}")
        raise typer.Exit(2) from None
    raise typer.Exit(0 if found.agree else 1)
