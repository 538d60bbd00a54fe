"""Every verb, by the part of the pipeline that it belongs to."""

from __future__ import annotations

import typer

from lra.cli import archive, cells, compare, data, docs, plan, report
from lra.core.errors import INTERRUPTED, SPEAKER
from lra.core.progress import say

HELP = """`lra <verb>`: one verb per stage of the pipeline, each usable by hand.

Mistakes, broken files and missing resources end it with one line and exit
status 1 (2 from `compare`, whose 1 is "they differ", and for an unknown option).
A fault of ours has a traceback before that line.
"""

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP
)
for verbs in (plan, compare, archive, report, data, cells, docs):
    app.add_typer(verbs.app)

(UsageError,) = typer.BadParameter.__bases__  # typer has a click of its own and names no other


def run() -> int:
    """Do what the command line says; the exit status. Raises KeyboardInterrupt for Ctrl-C."""
    try:
        status = app(prog_name="lra", standalone_mode=False)
    except UsageError as error:
        if not (said := error.format_message()):  # of `lra` alone: its help
            error.show()
            return error.exit_code
        verb = error.ctx.command_path if error.ctx else "lra"
        said = " ".join(said.split()).removesuffix(".")
        say(f"{SPEAKER}{verb}: {said}; see {verb} --help")
        return error.exit_code
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status or 0
