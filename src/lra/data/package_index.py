"""Where the user's pip finds the source distribution of a package.

pip reads its own settings here: indexes, folders (find-links), certificates, proxies. So no index
is named in this project. No command of pip only fetches a file: `pip download` also runs the
package's build, which may need a compiler. The search that comes before it is used instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lra.core.errors import LRAError, nearest
from lra.data.recipe import Archive


def locate(archive: Archive) -> str | Path:
    """The URL, or the path on this machine, of the file of `archive.package`.

    Raises LRAError in one line where pip finds no such file or no index answers.
    """
    name = archive.package.partition("==")[0]
    where = f"{archive.package}: pip finds no {archive.file}"
    try:
        links, failures = _search(name)
    except (ImportError, AttributeError, TypeError) as error:  # pip is missing, or another pip
        raise LRAError(f"{where}: {error}; put the file in a folder and set data_mirror") from None
    if archive.file in links:
        link = links[archive.file]
        return Path(link.file_path) if link.is_file else link.url_without_fragment
    if links:
        raise LRAError(f"{where}; {nearest(archive.file, links)}")
    raise LRAError(f"{where}: {'; '.join(failures) or f'no source distribution of {name}'}")


def _search(name: str) -> tuple[dict, list[str]]:
    """pip's links to a package's source distributions, by file name; the pages that it cannot read.

    The links are empty where every page fails or has none.
    """
    from pip._internal.commands import create_command

    command = create_command("download")
    options, _ = command.parse_args(["--no-binary=:all:"])
    with _heard("pip") as lines, command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session, ignore_requires_python=True)
        links = {found.link.filename: found.link for found in finder.find_all_candidates(name)}
    return links, [line for line in lines if line.startswith("Could not fetch URL")]


@contextmanager
def _heard(name: str) -> Iterator[list[str]]:
    """What a logger and those below it say, kept from the terminal."""
    lines: list[str] = []
    logger, handler = logging.getLogger(name), logging.Handler()
    handler.emit = lambda record: lines.append(" ".join(record.getMessage().split()))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
