"""The file of a package, from where the user's own client takes it: pip, npm or apt-get.

A client reads its own settings: indexes, folders, certificates, proxies. So no registry is named in
this project. npm and apt-get have a command that only fetches a file. pip has none: `pip download`
also runs the package's build, which may need a compiler. The search that comes before it is used
instead.
"""

from __future__ import annotations

import logging
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lra.core.errors import nearest

CLIENTS = {  # they put the file into the folder that they run in
    "npm": ("npm", "pack", "--ignore-scripts"),
    "deb": ("apt-get", "download"),
}
COMPLAINT = re.compile(r"(?:npm error|npm ERR!|E:) (?!code |errno |syscall )(.+)")


class Unavailable(Exception):
    """Why an origin gives no good file."""


def locate(package: str, file: str, folder: Path) -> str | Path:
    """The URL, or the path on this machine, of the file of a package (see `Archive.package`).

    file: its name, preferred where pip has several source distributions of the version.
    folder: an empty one, where npm and apt-get put the file.
    Raises Unavailable in one line where the client is missing, finds no such package or file, or
    reaches no index.
    """
    kind, is_named, rest = package.partition(":")
    return _fetched(kind, rest, folder) if is_named else _pip(package, file)


def _fetched(kind: str, package: str, folder: Path) -> Path:
    command = [*CLIENTS[kind], package]
    client = command[0]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "LC_ALL": "C"}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unavailable(f"{client} is not installed") from None
    files = [path for path in folder.iterdir() if path.is_file()]
    if done.returncode == 0 and len(files) == 1:
        return files[0]
    said = COMPLAINT.search(done.stderr)
    reason = said[1].strip() if said else f"exit status {done.returncode}, no file"
    advice = "; 'apt-get update' may help" if client == "apt-get" else ""
    raise Unavailable(f"{client}: {reason}{advice}")


def _pip(package: str, file: str) -> str | Path:
    name, _, version = package.partition("==")
    where = f"pip finds no source distribution of {package}"
    try:
        found, failures = _search(name)
    except (ImportError, AttributeError, TypeError) as error:  # pip is missing, or another pip
        raise Unavailable(
            f"{where}: {error}; put the file in a folder and set data_mirror"
        ) from None
    links = found.get(version, {})
    if links:
        link = links.get(file) or min(links.items())[1]
        return Path(link.file_path) if link.is_file else link.url_without_fragment
    if found:
        raise Unavailable(f"{where}; {nearest(version, found)}")
    raise Unavailable(f"{where}: {'; '.join(failures) or 'it has none'}")


def _search(name: str) -> tuple[dict[str, dict], list[str]]:
    """Version -> file name -> pip's link, of a package's source distributions; and the pages that
    pip cannot read.

    There is no version where every page fails or has none.
    """
    from pip._internal.commands import create_command

    command = create_command("download")
    options, _ = command.parse_args(["--no-binary=:all:"])
    links: dict[str, dict] = {}
    with _heard("pip") as lines, command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session, ignore_requires_python=True)
        for each in finder.find_all_candidates(name):
            links.setdefault(str(each.version), {})[each.link.filename] = each.link
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
