"""`lra <verb>`: one verb per stage of the pipeline, each usable by hand.

A verb reads its inputs, calls its stage's module and writes the records. Mistakes and broken files
end it with one line and exit status 1 (2 from `compare`, whose 1 is "they differ").
"""

from __future__ import annotations

import sys

import typer

from lra.cli import archive, cells, compare, data, docs, plan, report
from lra.core import environment, files
from lra.core.errors import LRAError
from lra.core.progress import say

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
for verbs in (data, cells, report, compare, archive, plan, docs):
    app.add_typer(verbs.app)


def main() -> None:
    environment.clean()
    environment.do_without()
    try:
        environment.check_checkout()
        with files.one_line():
            app(prog_name="lra")
    except LRAError as error:
        say(f"lra: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
