"""The source that ran: the files of a checkout as they are, and where they leave its commit."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lra.core.errors import LRAError
from lra.core.git import git

FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000  # git's three modes
RESTORED = ("results", "config", ".snakemake")  # folders that `lra restore` writes into


@dataclass(frozen=True)
class Entry:
    """A file: its bytes (of a link: its target) or the path that has them, and its mode in git."""

    content: bytes | Path
    mode: int = FILE

    @property
    def size(self) -> int:
        """In bytes."""
        content = self.content
        return content.stat().st_size if isinstance(content, Path) else len(content)

    def open(self) -> BinaryIO:
        content = self.content
        return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)

    def read(self) -> bytes:
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content

    def sha256(self) -> str:
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Source:
    commit: str
    files: dict[str, Entry]  # of the checkout
    changed: list[str]  # names of files that differ from the commit, of added and removed ones
    added: list[str]  # those of them that git does not track


def state(root: Path) -> str:
    """The commit, with a hash of the files where some changed. Raises LRAError as `read` does."""
    found = read(root)
    changes = f"+{tree_hash(found.files)[:16]}" if found.changed else ""
    return found.commit + changes


def read(root: Path) -> Source:
    """The files of a checkout that git does not ignore; git itself stays as it is.

    Raises LRAError where `root` is not the folder of a git checkout, or has submodules.
    """
    try:
        commit = git(root, "rev-parse", "--verify", "HEAD").strip()
    except LRAError as error:
        raise LRAError(f"{error}; an archive records the commit") from None
    inside = git(root, "rev-parse", "--show-prefix").strip()
    if inside:
        raise LRAError(f"{root}: is the folder {inside} of a git checkout, and not all of it")
    found = {}
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in sorted({*listed.split("\0")[:-1]}):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            raise LRAError(f"{path}: is a git repository of its own; no archive can hold it")
        if os.path.lexists(path):
            found[name] = _entry(path)
    status = git(root, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    changes = {line[3:]: line[:2] for line in status.split("\0")[:-1]}
    added = sorted(name for name, kind in changes.items() if kind == "??")
    return Source(commit, found, sorted(changes), added)


def files_in(folder: Path) -> dict[str, Entry]:
    """Every file and link of a folder."""
    return {
        path.relative_to(folder).as_posix(): _entry(path)
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def tree_hash(entries: Mapping[str, Entry]) -> str:
    """SHA-256 of the names, modes and bytes of all files."""
    lines = [f"{each.mode:o} {each.sha256()} {name}\n" for name, each in sorted(entries.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_links(folder: Path, entries: Mapping[str, Entry]) -> None:
    """Raise LRAError on a link that leads out of `folder`, or lies where results are written."""
    inside = os.path.realpath(folder)
    for name in (name for name, entry in entries.items() if entry.mode == LINK):
        leads_out = not os.path.realpath(folder / name).startswith(inside + os.sep)
        if leads_out or name.partition("/")[0] in RESTORED:
            raise LRAError(f"source/{name}: a link that leads out, or lies where results go")


def _entry(path: Path) -> Entry:
    if path.is_symlink():
        return Entry(path.readlink().as_posix().encode(), LINK)
    return Entry(path, PROGRAM if path.stat().st_mode & 0o100 else FILE)
