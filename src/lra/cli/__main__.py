"""`lra <verb>`: one verb per stage of the pipeline, each usable by hand.

A verb reads its inputs, calls its stage's module and writes the records. Mistakes, broken files and
missing resources end it with one line and exit status 1 (2 from `compare`, whose 1 is "they
differ"). A fault of ours has a traceback before that line.
"""

from __future__ import annotations

import typer

from lra.cli import archive, cells, compare, data, docs, plan, report
from lra.core import environment
from lra.core.errors import ends_in_one_line

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
for verbs in (plan, compare, archive, report, data, cells, docs):
    app.add_typer(verbs.app)


def main() -> None:
    with ends_in_one_line():
        environment.clean()
        environment.do_without()
        environment.check_checkout()
        app(prog_name="lra")


if __name__ == "__main__":
    main()
