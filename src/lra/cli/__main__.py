"""`lra <verb>` as a process: its environment, its end in one line and its exit status."""

from __future__ import annotations

import sys

from lra.core import environment
from lra.core.errors import ends_in_one_line


def main() -> None:
    with ends_in_one_line():
        environment.clean()
        environment.do_without()
        environment.check_checkout()
        from lra.cli.app import run  # takes a second, in which Ctrl-C is one line, too

        sys.exit(run())


if __name__ == "__main__":
    main()
