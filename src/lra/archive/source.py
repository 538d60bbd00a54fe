"""The source that ran: the files of its commit, and a patch where the tree had changes."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lra.errors import LRAError

# every setting that a user may have is said, so that the same changes are the same bytes
DIFF = ("-c", "core.quotepath=true", "diff", "--cached", "--binary", "--full-index", "--no-color",
        "--no-ext-diff", "--unified=3", "--diff-algorithm=myers", "--no-renames",
        "--src-prefix=a/", "--dst-prefix=b/")  # fmt: skip
FILE, PROGRAM, LINK = 0o100644, 0o100755, 0o120000  # git's three kinds


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
    patch: bytes  # to the tree that ran; empty where it was clean


def state(root: Path) -> str:
    """The commit, with a hash over the changes where there are any: what an archive depends on.

    Raises LRAError where the folder is no git checkout.
    """
    patch = _patch(root)
    changes = f"+{hashlib.sha256(patch).hexdigest()[:16]}" if patch else ""
    return _git(root, "rev-parse", "HEAD").decode().strip() + changes


def read(root: Path) -> Source:
    """The commit's files and the changes, files that git does not ignore included.

    Raises LRAError where the folder is no git checkout.
    """
    commit, time = _git(root, "log", "-1", "--format=%H %ct").decode().split()
    with tarfile.open(fileobj=io.BytesIO(_git(root, "archive", "--format=tar", commit))) as tar:
        files = {member.name: _entry(tar, member) for member in tar if not member.isdir()}
    return Source(commit, int(time), dict(sorted(files.items())), _patch(root))


def tree_hash(folder: Path) -> str:
    """SHA-256 over the names, kinds and bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda p: p.relative_to(folder).as_posix()):
        if path.is_symlink() or path.is_file():
            kind, content = _on_disk(path)
            name = path.relative_to(folder).as_posix()
            digest.update(f"{kind:o} {len(content)} {name}\n".encode() + content)
    return digest.hexdigest()


def apply(patch: Path, folder: Path) -> None:
    """Change the files in `folder` by the patch. Raises LRAError where it does not apply."""
    ceiling = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    command = ["git", "apply", "--whitespace=nowarn", str(patch.resolve())]
    done = subprocess.run(command, cwd=folder, env=ceiling, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[:1] or ["git apply failed"]
        raise LRAError(f"{patch.name}: does not apply to the source ({reason[0]})")


def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    if member.issym():
        return Entry(member.linkname.encode(), LINK)
    content = tar.extractfile(member).read()
    return Entry(content, PROGRAM if member.mode & 0o100 else FILE)


def _on_disk(path: Path) -> tuple[int, bytes]:
    if path.is_symlink():
        return LINK, path.readlink().as_posix().encode()
    return PROGRAM if path.stat().st_mode & 0o100 else FILE, path.read_bytes()


def _patch(root: Path) -> bytes:
    """Changes of tracked files, and every untracked one, by an index of its own: git's stays."""
    git_dir = root / _git(root, "rev-parse", "--git-dir").decode().strip()
    index = git_dir / f"index-of-archive-{os.getpid()}"
    own = {**os.environ, "GIT_INDEX_FILE": str(index.resolve())}
    try:
        _git(root, "read-tree", "HEAD", env=own)
        _git(root, "add", "--all", ".", env=own)
        return _git(root, *DIFF, "HEAD", env=own)
    finally:
        index.unlink(missing_ok=True)


def _git(root: Path, *arguments: str, env: dict | None = None) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], env=env, capture_output=True)
    except FileNotFoundError:
        raise LRAError("git: not found; an archive records the commit") from None
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["failed"])[0]
        raise LRAError(f"{root}: git {arguments[0]}: {reason}; an archive records the commit")
    return done.stdout
