"""Snakemake's --config and --configfile, before Snakemake reads them.

It does so before it reads the Snakefile, and ends with a traceback where it cannot. The profile
profiles/default, which it reads first, calls this.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from lra.config.yaml_file import read_yaml, typed_values
from lra.core.errors import LRAError, shown

VALUE = re.compile(r"[a-zA-Z_][\w-]*\w=")  # as Snakemake wants it


def check(arguments: Sequence[str]) -> None:
    """Raise LRAError for a file or value that Snakemake would not read."""
    for file in after("--configfile", arguments) + after("--configfiles", arguments):
        if not read_yaml(Path(file)):
            raise LRAError(f"{file}: is empty")
    values = after("--config", arguments)
    for value in values:
        if not VALUE.match(value):
            raise LRAError(
                f"--config: {shown(value)} is not name=value; a target comes before --config or "
                "after --"
            )
    typed_values(values)


def after(option: str, arguments: Sequence[str]) -> list[str]:
    """The values of an option that takes several."""
    found = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            break
        if argument.startswith(f"{option}="):
            found.append(argument.partition("=")[2])
        elif argument == option:
            found += takewhile(lambda word: not word.startswith("-"), arguments[place + 1 :])
    return found
