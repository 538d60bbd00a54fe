"""The zip itself: stored files in one order, with one time, so that its content fixes its bytes."""

from __future__ import annotations

import filecmp
import hashlib
import lzma
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lra.archive.source import FILE, LINK, PROGRAM, Entry
from lra.core.errors import LRAError
from lra.core.files import one_line

SUMS = "SHA256SUMS"
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
# What zipfile raises on damaged bytes, which may ask for a password or a method, or end too early.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError,
           EOFError, OSError, ValueError, struct.error)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A file on the disk that goes into a zip as it is."""

    path: Path
    mode: int = FILE

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def open(self) -> BinaryIO:
        return self.path.open("rb")


def sums(entries: Mapping[str, Entry | Kept]) -> bytes:
    """The text of SHA256SUMS, as sha256sum writes and reads it; of a link that of its target."""
    return "".join(f"{sha256(entries[name])}  {name}\n" for name in sorted(entries)).encode()


def sha256(entry: Entry | Kept) -> str:
    with entry.open() as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, entries: Mapping[str, Entry | Kept]) -> None:
    """A zip of the entries beside `path`, then renamed to it.

    Raises LRAError naming the path where the disk is full or cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:
                for name, entry in sorted(entries.items()):
                    with entry.open() as content:
                        _add(file, _info(name, entry.mode), entry.size, content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def problems(path: Path) -> list[str]:
    """What is wrong with a zip as a box, one line each: unsafe names, bytes that no content asks
    for, and files that SHA256SUMS misses, does not know or has otherwise.

    Raises LRAError where it is no zip at all.
    """
    with _open(path) as file:
        unsafe = _unsafe(file)
        if unsafe:
            return unsafe
        names = file.namelist()
        if SUMS not in names:
            return [f"{SUMS}: is missing"]
        listed = _listed(file)
        if listed is None:
            return [f"{SUMS}: is damaged"]
        found = [f"{name}: is missing" for name in sorted(set(listed) - set(names))]
        for name in names:
            if name == SUMS:
                continue
            if name not in listed:
                found.append(f"{name}: is not in {SUMS}; it was added")
            elif _sum_in(file, name) != listed[name]:
                found.append(f"{name}: its bytes are not those of {SUMS}")
        return found or _strays(path, file)


def extract(path: Path, folder: Path) -> None:
    """Unpack into a folder, links last. Raises LRAError where a name or link leads out of it."""
    with _open(path) as file, one_line(folder):
        for line in _unsafe(file):
            raise LRAError(f"{path}: {line}")
        for info in sorted(file.infolist(), key=lambda info: _mode(info) == LINK):
            target = folder / info.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            if _mode(info) == LINK:
                target.symlink_to(file.read(info).decode())
                continue
            with file.open(info) as content, target.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            target.chmod(target.stat().st_mode | (_mode(info) & 0o111))


def read(path: Path, name: str) -> bytes:
    """One file's bytes. Raises LRAError where the zip or the file in it cannot be read."""
    with _open(path) as file:
        try:
            return file.read(name)
        except (KeyError, *DAMAGED):
            raise LRAError(f"{path}: {name}: is missing or damaged") from None


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise LRAError(f"{path}: no such file") from None
    except DAMAGED as error:
        raise LRAError(f"{path}: not an archive, or damaged ({error})") from None


def _info(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, TIME)
    info.create_system, info.external_attr = 3, mode << 16  # Unix
    return info


def _add(file: zipfile.ZipFile, info: zipfile.ZipInfo, size: int, content: BinaryIO) -> None:
    info.file_size = size
    with file.open(info, "w") as out:
        shutil.copyfileobj(content, out, 1 << 20)


def _mode(info: zipfile.ZipInfo) -> int:
    return info.external_attr >> 16


def _unsafe(file: zipfile.ZipFile) -> list[str]:
    found, seen = [], set()
    links = {info.filename for info in file.infolist() if _mode(info) == LINK}
    for info in file.infolist():
        name = info.filename
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or pure.as_posix() != name:
            found.append(f"{name!r}: leads out of the folder")
        if ".git" in map(str.lower, pure.parts):
            found.append(f"{name}: git would obey it")
        if name in seen:
            found.append(f"{name}: is there twice")
        seen.add(name)
        # a program is one by git's word, and the hash of the source's tree knows that
        kinds = (FILE, PROGRAM, LINK) if name.startswith("source/") else (FILE,)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            found.append(f"{name}: is compressed, and was written as it is")
        elif _mode(info) not in kinds:
            found.append(f"{name}: is not of the kind that was written")
        elif _mode(info) == LINK:
            found += [f"{name}: a link that {where}" for where in _astray(file, info, links)]
    return found + [
        f"{name}: lies behind a link"
        for name in seen
        if links & {parent.as_posix() for parent in PurePosixPath(name).parents}
    ]


def _astray(file: zipfile.ZipFile, info: zipfile.ZipInfo, links: set[str]) -> list[str]:
    """Where a link leads that it must not: from step to step, as `..` of a link is another's."""
    try:
        target = PurePosixPath(file.read(info).decode())
    except DAMAGED:
        return ["is damaged"]
    here = PurePosixPath(info.filename).parent
    for part in target.parts:
        if here.as_posix() in links:
            return ["leads through another link"]
        here = here.parent if part == ".." else here / part
        if not here.parts or target.is_absolute():  # the first folder becomes the root
            return ["leads out of the folder"]
    return []


def _listed(file: zipfile.ZipFile) -> dict[str, str] | None:
    try:
        lines = file.read(SUMS).decode().splitlines()
        return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except DAMAGED:
        return None


def _sum_in(file: zipfile.ZipFile, name: str) -> str | None:
    try:
        with file.open(name) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except DAMAGED:
        return None


def _strays(path: Path, file: zipfile.ZipFile) -> list[str]:
    """Written anew, the content must give these bytes: nothing hides between the files."""
    with one_line(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "again.zip")
        with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as again:
            for name in sorted(file.namelist()):
                old = file.getinfo(name)
                with file.open(old) as content:
                    _add(again, _info(name, _mode(old)), old.file_size, content)
        if filecmp.cmp(path, copy, shallow=False):
            return []
    return [f"{path.name}: bytes between its files are not as they were written"]
