"""The source that ran: the files of its commit, and a patch where the tree had changes."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lra.core.errors import LRAError

# What a user may have set that would change the bytes, so that the same changes are the same; not
# what they ignore, nor their own drivers for what .gitattributes names.
SETTINGS = ("-c", "core.quotepath=true", "-c", "core.autocrlf=false", "-c", "core.compression=9",
            "-c", "core.attributesFile=/dev/null",
            "-c", "diff.suppressBlankEmpty=false")  # fmt: skip
DIFF = ("diff", "--cached", "--binary", "--full-index", "--no-color", "--no-ext-diff",
        "--no-textconv", "--unified=3", "--inter-hunk-context=0", "--indent-heuristic",
        "--diff-algorithm=myers", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/",
        "-O/dev/null", "HEAD")  # fmt: skip
FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000  # git's three kinds
SUBMODULE = 0o160000
FILLED = ("results", "config", ".snakemake")  # what restoring an archive writes into


@dataclass(frozen=True)
class Entry:
    """A file's kind, as git's mode, and its bytes; a link's bytes are where it leads."""

    content: bytes
    mode: int = FILE

    @property
    def size(self) -> int:
        return len(self.content)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


@dataclass(frozen=True)
class Source:
    commit: str
    time: int  # of the commit, seconds since 1970
    files: dict[str, Entry]  # of the commit
    now: dict[str, Entry]  # of the tree that ran
    patch: bytes  # from one to the other; empty where they are the same


def state(root: Path) -> str:
    """The commit, with a hash over the changes where there are any: what an archive depends on.

    Raises LRAError where the folder is no git checkout.
    """
    commit, _ = _head(root)
    with _staged(root) as own:
        patch = _git(root, *DIFF, env=own)
    return commit + (f"+{hashlib.sha256(patch).hexdigest()[:16]}" if patch else "")


def read(root: Path) -> Source:
    """The commit's files and the changes, files that git does not ignore included.

    Raises LRAError where the folder is no git checkout, or has submodules.
    """
    commit, time = _head(root)
    files = _files(root, commit)
    with _staged(root) as own:
        patch = _git(root, *DIFF, env=own)
        tree = _git(root, "write-tree", env=own).decode().strip()
        now = _files(root, tree, own) if patch else files
    return Source(commit, time, files, now, patch)


def files_in(folder: Path) -> dict[str, Entry]:
    """Every file of a folder, in the order of their names."""
    found = {
        path.relative_to(folder).as_posix(): _on_disk(path)
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }
    return dict(sorted(found.items()))


def tree_hash(files: Mapping[str, Entry]) -> str:
    """SHA-256 over the names, kinds and bytes of all files."""
    digest = hashlib.sha256()
    for name, entry in sorted(files.items()):
        digest.update(f"{entry.mode:o} {entry.size} {name}\n".encode() + entry.content)
    return digest.hexdigest()


def apply(patch: Path, folder: Path) -> None:
    """Change the files in `folder` by the patch. Raises LRAError where it does not apply."""
    ceiling = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    command = ["git", *SETTINGS, "apply", "--whitespace=nowarn", str(patch.resolve())]
    done = subprocess.run(command, cwd=folder, env=ceiling, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[:1] or ["git apply failed"]
        raise LRAError(f"{patch.name}: does not apply to the source ({reason[0]})")


def check_links(folder: Path) -> None:
    """Raise LRAError where a link, which a patch can make as well, leads out of the folder or lies
    where results go: nothing is written or read through it.
    """
    inside = os.path.realpath(folder)
    for path in folder.rglob("*"):
        if path.is_symlink():
            name = path.relative_to(folder)
            leads_out = not os.path.realpath(path).startswith(inside + os.sep)
            if leads_out or name.parts[0] in FILLED:
                raise LRAError(f"source/{name}: a link that leads out, or lies where results go")


def _on_disk(path: Path) -> Entry:
    if path.is_symlink():
        return Entry(path.readlink().as_posix().encode(), LINK)
    return Entry(path.read_bytes(), PROGRAM if path.stat().st_mode & 0o100 else FILE)


def _head(root: Path) -> tuple[str, int]:
    """The commit and its time. Raises LRAError where `root` is not the checkout's own folder."""
    commit, time = (
        _git(root, "log", "-1", "--no-show-signature", "--format=%H %ct").decode().split()
    )
    inside = _git(root, "rev-parse", "--show-prefix").decode().strip()
    if inside:
        raise LRAError(
            f"{root}: is the folder {inside} of a git checkout; an archive wants a whole one"
        )
    return commit, int(time)


@contextmanager
def _staged(root: Path) -> Iterator[dict[str, str]]:
    """An environment with an index that has all changes, and every untracked file. It and the blobs
    are in a folder of their own: the checkout's `.git` stays as it is.
    """
    objects = _git(root, "rev-parse", "--git-path", "objects").decode().strip()
    with tempfile.TemporaryDirectory(prefix="lra-git-") as name:
        own = {**os.environ, "GIT_INDEX_FILE": f"{name}/index", "GIT_OBJECT_DIRECTORY": name,
               "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects).resolve())}  # fmt: skip
        _git(root, "read-tree", "HEAD", env=own)
        _git(root, "add", "--all", ".", env=own)
        yield own


def _files(root: Path, tree: str, env: dict[str, str] | None = None) -> dict[str, Entry]:
    """Of a commit or tree, by name; as git keeps them, whatever its attributes say of archives."""
    modes, blobs = {}, []
    for line in _git(root, "ls-tree", "-r", "-z", tree, env=env).decode().split("\0")[:-1]:
        facts, _, name = line.partition("\t")
        mode, _, blob = facts.split()
        modes[name] = int(mode, 8)
        if modes[name] == SUBMODULE:
            raise LRAError(f"{root / name}: is a git repository of its own; no archive can hold it")
        blobs.append(blob)
    stream = io.BytesIO(_git(root, "cat-file", "--batch", env=env, given="\n".join(blobs)))
    files = {}
    for name, mode in modes.items():
        content = stream.read(int(stream.readline().split()[2]))
        stream.readline()
        files[name] = Entry(content, mode)
    return dict(sorted(files.items()))


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
