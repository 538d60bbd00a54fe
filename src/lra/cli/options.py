"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# panels of `lra --help`
PEOPLE = "For people"
RULES = "For the rules of the workflow, and by hand"
MAKERS = "For changes of this project"
Planned = Annotated[str | None, typer.Option(help="stop if the code is no longer this one")]
Out = Annotated[Path, typer.Option(help="where the result goes")]
Config = Annotated[Path, typer.Option(help="the experiment")]


def results_of(root: Path) -> Path:
    """The results of this folder, in which snakemake has run, or else those of the checkout."""
    here = Path("results")
    return here if here.is_dir() else root / here
