"""The source that ran: the files of its commit, and a patch where the checkout had changes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lra.core import files
from lra.core.errors import LRAError

# Settings of the user that would change the patch. Their ignored files and drivers stay in force.
SETTINGS = ("-c", "core.quotepath=true", "-c", "core.autocrlf=false", "-c", "core.compression=9",
            "-c", "core.attributesFile=/dev/null",
            "-c", "diff.suppressBlankEmpty=false")  # fmt: skip
# diff-index, unlike diff, ignores most of the user's settings for diff
DIFF = ("diff-index", "--cached", "--patch", "--binary", "--full-index", "--no-ext-diff", "HEAD")
FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000  # git's three modes
SUBMODULE = 0o160000
RESTORED = ("results", "config", ".snakemake")  # folders that `lra restore` writes into


@dataclass(frozen=True, eq=False)
class Entry:
    """A file: its bytes, or the path that has them, and its mode in git.

    The bytes of a link are its target. Entries of the same bytes and mode are equal.
    """

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
        if isinstance(self.content, Path):
            return files.sha256(self.content)
        return hashlib.sha256(self.content).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return self.mode == other.mode and self.read() == other.read()


@dataclass(frozen=True)
class Source:
    commit: str
    time: int  # of the commit, seconds since 1970
    files: dict[str, Entry]  # of the commit
    now: dict[str, Entry]  # of the checkout
    patch: bytes  # from one to the other; empty where they are the same


def state(root: Path) -> str:
    """The commit, with a hash of the changes where there are any: the archive depends on both.

    Raises LRAError as `read` does.
    """
    found = read(root)
    changes = hashlib.sha256(found.patch).hexdigest()[:16]
    return f"{found.commit}+{changes}" if found.patch else found.commit


def read(root: Path) -> Source:
    """The files of the commit, and those of the checkout that git does not ignore.

    Raises LRAError where `root` is not the folder of a git checkout, or has submodules.
    """
    line = _git(root, "log", "-1", "--no-show-signature", "--format=%H %ct").decode()
    commit, time = line.split()
    inside = _git(root, "rev-parse", "--show-prefix").decode().strip()
    if inside:
        raise LRAError(
            f"{root}: is the folder {inside} of a git checkout; an archive wants a whole one"
        )
    objects = _git(root, "rev-parse", "--git-path", "objects").decode().strip()
    # all changes are staged in an index of our own: the checkout's `.git` stays as it is
    with tempfile.TemporaryDirectory(prefix="lra-git-") as name:
        index = {**os.environ, "GIT_INDEX_FILE": f"{name}/index", "GIT_OBJECT_DIRECTORY": name,
                 "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects).resolve())}  # fmt: skip
        _git(root, "read-tree", "HEAD", env=index)
        _git(root, "add", "--all", ".", env=index)
        patch = _git(root, *DIFF, env=index)
        tree = _git(root, "write-tree", env=index).decode().strip()
        now = _files(root, tree, index)
    return Source(commit, int(time), _files(root, commit), now, patch)


def files_in(folder: Path) -> dict[str, Entry]:
    """Every file and link of a folder, sorted by name."""
    found = {
        path.relative_to(folder).as_posix(): _entry(path)
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }
    return dict(sorted(found.items()))


def tree_hash(entries: Mapping[str, Entry]) -> str:
    """SHA-256 of the names, modes and bytes of all files."""
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        digest.update(f"{entry.mode:o} {entry.size} {name}\n".encode() + entry.read())
    return digest.hexdigest()


def restore(unpacked: Path, folder: Path) -> dict[str, Entry]:
    """Copy `source/` of an unpacked archive to a new folder and apply source.patch; its files.

    Raises LRAError where the patch does not fit, or a link is not allowed.
    """
    shutil.copytree(unpacked / "source", folder, symlinks=True)
    if (unpacked / "source.patch").exists():
        apply(unpacked / "source.patch", folder)
    check_links(folder)
    return files_in(folder)


def apply(patch: Path, folder: Path) -> None:
    """Apply the patch to the files in `folder`. Raises LRAError where it does not fit them."""
    ceiling = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    command = ["git", *SETTINGS, "apply", "--whitespace=nowarn", str(patch.resolve())]
    done = subprocess.run(command, cwd=folder, env=ceiling, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[:1] or ["git apply failed"]
        raise LRAError(f"{patch.name}: does not apply to the source ({reason[0]})")


def check_links(folder: Path) -> None:
    """Refuse links through which something outside of the source could be read or written.

    Raises LRAError where a link leads out of `folder`, or lies where results are written.
    """
    inside = os.path.realpath(folder)
    for path in folder.rglob("*"):
        if path.is_symlink():
            name = path.relative_to(folder)
            leads_out = not os.path.realpath(path).startswith(inside + os.sep)
            if leads_out or name.parts[0] in RESTORED:
                raise LRAError(f"source/{name}: a link that leads out, or lies where results go")


def _entry(path: Path) -> Entry:
    if path.is_symlink():
        return Entry(path.readlink().as_posix().encode(), LINK)
    return Entry(path, PROGRAM if path.stat().st_mode & 0o100 else FILE)


def _files(root: Path, tree: str, env: dict[str, str] | None = None) -> dict[str, Entry]:
    """Files of a commit or tree as git stores them: `git archive` obeys export attributes."""
    modes, blobs = {}, []
    for line in _git(root, "ls-tree", "-r", "-z", tree, env=env).decode().split("\0")[:-1]:
        fields, _, name = line.partition("\t")
        mode, _, blob = fields.split()
        modes[name] = int(mode, 8)
        if modes[name] == SUBMODULE:
            raise LRAError(f"{root / name}: is a git repository of its own; no archive can hold it")
        blobs.append(blob)
    stream = io.BytesIO(_git(root, "cat-file", "--batch", env=env, given="\n".join(blobs)))
    found = {}
    for name, mode in modes.items():
        content = stream.read(int(stream.readline().split()[2]))
        stream.readline()
        found[name] = Entry(content, mode)
    return dict(sorted(found.items()))


def _git(root: Path, *arguments: str, env: dict | None = None, given: str = "") -> bytes:
    command = ["git", *SETTINGS, "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, env=env, input=given.encode(), capture_output=True)
    except FileNotFoundError:
        raise LRAError("git: not found; an archive records the commit") from None
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["failed"])[0]
        raise LRAError(f"{root}: git {arguments[0]}: {reason}; an archive records the commit")
    return done.stdout
