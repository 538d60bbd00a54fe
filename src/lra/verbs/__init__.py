"""The verbs of `lra`, by what they are about; here what they share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Planned = Annotated[str | None, typer.Option(help="stop if the code is no longer this one")]
Out = Annotated[Path, typer.Option(help="where the result goes")]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
