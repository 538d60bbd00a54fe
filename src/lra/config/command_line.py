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
BEFORE = "a target comes before {} or after --"


def check(arguments: Sequence[str]) -> None:
    """Raise LRAError for a file or value that Snakemake would not read, or would leave out."""
    for place, file in enumerate(after(("--configfile", "--configfiles"), arguments)):
        try:
            if not read_yaml(Path(file)):
                raise LRAError(f"{file}: is empty")
        except LRAError as error:
            hint = f"; {BEFORE.format('--configfile')}" if place else ""
            raise LRAError(f"{error}{hint}") from None
    if "" in arguments:
        raise LRAError("snakemake: an argument is empty; is a variable of your shell unset?")
    values = after(("--config", "-C"), arguments)
    for value in values:
        if not VALUE.match(value):
            raise LRAError(
                f"--config: {shown(value)} is not name=value; {BEFORE.format('--config')}"
            )
    typed_values(values)


def after(names: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """The values of an option that takes several.

    Raises LRAError where it stands twice: Snakemake takes its last place alone.
    """
    found: list[list[str]] = []
    for place, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if argument == "--":
            break
        if option in names and equals:
            found.append([value])
        elif argument in names:
            words = arguments[place + 1 :]
            found.append(list(takewhile(lambda word: not word.startswith("-"), words)))
    if len(found) > 1:
        raise LRAError(f"{names[0]}: stands twice; write all of its values after the first")
    return found[0] if found else []
