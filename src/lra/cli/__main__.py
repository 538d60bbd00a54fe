"""`lra <verb>`: one verb per stage of the pipeline, each usable by hand.

A verb reads its inputs, calls its stage's module and writes the records. Mistakes, broken files and
missing resources end it with one line and exit status 1 (2 from `compare`, whose 1 is "they
differ"). A fault of ours has a traceback before that line.
"""

from __future__ import annotations

import sys
import traceback

import typer

from lra.cli import archive, cells, compare, data, docs, plan, report
from lra.core.errors import SPEAKER, in_one_line
from lra.core.progress import say

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
for verbs in (data, cells, report, compare, archive, plan, docs):
    app.add_typer(verbs.app)


def main() -> None:
    try:
        app()
    except Exception as error:  # noqa: BLE001 -- here all of them become lines
        line = in_one_line(error)
        if line is None:
            traceback.print_exc()
            line = (
                f"{type(error).__name__}: {error} (a fault of lra: please report the lines above)"
            )
        say(SPEAKER + line)
        sys.exit(1)


if __name__ == "__main__":
    main()
