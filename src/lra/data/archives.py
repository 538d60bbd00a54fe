"""Reads the files of an archive as streams; nothing is unpacked to disk.

An archive is told by its first bytes, not by its name: a zip, or a tar, plain or compressed with
gzip, bzip2 or xz, also several times, or a Debian package with such a tar. Names in it are compared
and never opened as paths; one that leads out of the archive (`../x`, `/etc/x`) ends the reading in
one line. What file managers add (`._x`, `__MACOSX/`, `.DS_Store`, PaxHeader) and links are no files
here.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import pickle
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lra.core.errors import LRAError
from lra.core.files import set_aside
from lra.core.progress import say

BUFFER = 2**18  # bytes
DEB = b"!<arch>\n"
DEB_HEADER = struct.Struct("16s32x10s2x")  # of a member: name, (date, owner, mode,) size
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the second is of one without files
COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
JUNK = re.compile(
    r"(^|/)(\._[^/]*|__MACOSX|\.DS_Store|PaxHeaders?(\.[^/]*)?|Thumbs\.db|desktop\.ini)(/|$)"
)
BOM = b"\xef\xbb\xbf"
DAMAGE = (
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,  # raised by gzip and bz2 for bad data, without an errno
    tarfile.TarError,
    zipfile.BadZipFile,
    struct.error,
    UnicodeDecodeError,
)
WRONG = (  # what libraries raise for the content of a sound file: pickle and Pillow nearly anything
    *DAMAGE, ArithmeticError, AttributeError, ImportError, LookupError, MemoryError,
    NotImplementedError, SyntaxError, TypeError, ValueError, pickle.PickleError,
)  # fmt: skip


def members(
    path: Path, wanted: Collection[str] | Callable[[str], bool]
) -> Iterator[tuple[str, BinaryIO]]:
    """(name, file object) of every regular file that is `wanted`, in the archive's order.

    wanted: names, each of which must be there, or a function of a name. Names are as `a/b`, without
    `./` before them.
    The archive is read once from start to end. Read each file before asking for the next, which
    closes it. A truncated or damaged archive, or a file that is none, is renamed to `<path>.bad`;
    LRAError then comes from here or from the file object's `read`. A sound archive stays, whatever
    is wrong with its names.
    """
    missing = set() if callable(wanted) else set(wanted)
    keep = wanted if callable(wanted) else frozenset(wanted).__contains__
    with _damage_set_aside(path), path.open("rb") as file:
        for name, inner in _entries(file, path, keep):
            missing.discard(name)
            with io.BufferedReader(_Guarded(inner, path)) as member:
                yield name, member
    if missing:
        raise LRAError(f"{path}: holds no file '{min(missing)}'")


def contents(path: Path, wanted: re.Pattern) -> dict[str, bytes]:
    """Name -> bytes of the files that `wanted` matches whole, those that end in .gz unpacked.

    Its first group is the name, whatever folders the archive puts the file into.
    """
    found = {}
    for full, file in members(path, lambda full: wanted.fullmatch(full) is not None):
        name, content = wanted.fullmatch(full)[1], file.read()
        if full.endswith(".gz"):
            with wrong(f"{path}: {full}"):
                content = gzip.decompress(content)
        if name in found:
            raise LRAError(f"{path}: holds '{name}' twice, also as '{full}'")
        found[name] = content
    return found


def check_contents(path: Path, found: dict[str, bytes], expected: str | None) -> None:
    """Raise LRAError unless names and bytes have this SHA-256, whatever archive they came in."""
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name} {hashlib.sha256(found[name]).hexdigest()}\n".encode())
    if expected and digest.hexdigest() != expected:
        raise LRAError(
            f"{path}: what it holds has sha256 {digest.hexdigest()} instead of {expected}; remove "
            "it and run again to download it anew"
        )


def inner_members(
    where: str, content: bytes, keep: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the files of an archive that is itself the member `where` of another."""
    with wrong(where):
        for name, file in _entries(io.BytesIO(content), where, keep):
            yield name, file.read()


@contextmanager
def wrong(where: str) -> Iterator[None]:
    """What a library says of malformed content, as one line that begins with `where`."""
    try:
        yield
    except LRAError:
        raise
    except WRONG as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise LRAError(f"{where}: malformed ({said})") from None


@contextmanager
def _damage_set_aside(path: Path) -> Iterator[None]:
    try:
        yield
    except NotImplementedError as error:  # an unknown version or compression of a zip
        raise LRAError(f"{path}: cannot be read ({error})") from None
    except DAMAGE as error:
        # EINVAL: a damaged zip makes its reader seek before the file's start
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise LRAError(f"{path}: {error.strerror}") from None
        reason = " ".join(str(error).split())
        raise LRAError(
            f"{path}: truncated or damaged ({reason}); kept as {set_aside(path)}, "
            "run again to download it anew"
        ) from None


class _Guarded(io.RawIOBase):
    """A member whose `read` reports damage as `members` does: callers read outside `members`."""

    def __init__(self, inner: BinaryIO, path: Path) -> None:
        self._inner, self._path = inner, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        with _damage_set_aside(self._path):
            return self._inner.readinto(buffer)

    def readall(self) -> bytes:
        with _damage_set_aside(self._path):
            return self._inner.read()


def _entries(
    file: BinaryIO, where: Path | str, keep: Callable[[str], bool]
) -> Iterator[tuple[str, BinaryIO]]:
    """The regular files by their normalised names; `where` is for messages."""
    start = file.read(len(DEB))
    is_zip = start[:4] in ZIP
    if start == DEB:
        _to_data_tar(file)
    else:
        file.seek(0)
    seen = set()
    for written, is_link, opened in (_zipped if is_zip else _tarred)(file, where):
        name = _normalised(written, where)
        if JUNK.search(name) or not keep(name):
            continue
        if is_link:
            say(f"{where}: '{name}' is a link; left out")
            continue
        if name in seen:
            raise LRAError(f"{where}: holds '{name}' twice")
        seen.add(name)
        with opened() as inner:
            yield name, inner


def _normalised(written: str, where: Path | str) -> str:
    parts = [part for part in written.split("/") if part not in ("", ".")]
    if written.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", written):
        raise LRAError(f"{where}: '{written}' leads out of the archive; nothing is read")
    return "/".join(parts)


def _to_data_tar(file: BinaryIO) -> None:
    """From the first header of a Debian package to its last member, the tar of what it installs."""
    while len(header := file.read(DEB_HEADER.size)) == DEB_HEADER.size:
        name, size = DEB_HEADER.unpack(header)
        if name.startswith(b"data.tar"):
            return
        if not size.strip().isdigit():
            break
        file.seek(int(size) + int(size) % 2, io.SEEK_CUR)
    raise tarfile.ReadError("a Debian package without data.tar")


def _tarred(file: BinaryIO, where: Path | str) -> Iterator[tuple[str, bool, Callable]]:
    stream, is_plain = io.BufferedReader(file, BUFFER), True
    while kind := next((k for k in COMPRESSED if stream.peek(6).startswith(k)), None):
        # tarfile asks for 512 bytes at a time
        stream, is_plain = io.BufferedReader(COMPRESSED[kind](stream), BUFFER), False
    _check_first_header(stream.peek(tarfile.BLOCKSIZE)[: tarfile.BLOCKSIZE], is_plain, where)
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()  # it would keep every header until the end
            if info.isreg() or info.islnk() or info.issym():
                opened = partial(tar.extractfile, info)
                yield info.name, not info.isreg(), opened
        if is_plain and stream.tell() < tar.offset + tarfile.BLOCKSIZE:
            raise tarfile.ReadError("its end is missing")
        # a checksum may be at the end; tarfile takes a damaged header for the tar's end
        while rest := stream.read(BUFFER):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a damaged header")


def _check_first_header(start: bytes, is_plain: bool, where: Path | str) -> None:
    """A sound compressed stream that holds no tar is not damaged, but another file."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        if is_plain:
            raise tarfile.ReadError(_what_it_is(start)) from None
        if start.strip(b"\0"):
            raise LRAError(f"{where}: what is compressed in it is {_what_it_is(start)}") from None


def _what_it_is(start: bytes) -> str:
    if start.removeprefix(BOM).lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page in place of the archive"
    return "no tar and no zip" if start else "an empty file"


def _zipped(file: BinaryIO, where: Path | str) -> Iterator[tuple[str, bool, Callable]]:
    with zipfile.ZipFile(file) as archive:
        for info in sorted(archive.infolist(), key=_place):
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where it was not made on Unix
            if info.is_dir() or kind not in (0, stat.S_IFREG, stat.S_IFLNK):
                continue
            if info.flag_bits & 1:
                raise LRAError(f"{where}: '{info.filename}' is encrypted")
            yield (
                info.filename.replace("\\", "/"),
                kind == stat.S_IFLNK,
                partial(archive.open, info),
            )


def _place(info: zipfile.ZipInfo) -> int:
    return info.header_offset


def lines(content: bytes | BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line without its end) of text: no byte order mark, no empty lines."""
    every = content.splitlines() if isinstance(content, bytes) else content
    for number, line in enumerate(every, 1):
        line = (line.removeprefix(BOM) if number == 1 else line).rstrip(b"\r\n")
        if line:
            yield number, line


def tsv_rows(
    archive: Path, names: Collection[str], columns: Collection[str], header: bool
) -> Iterator[tuple[str, str, list[bytes]]]:
    """(name, where, the columns' values) of each line of the TSV files of these names.

    columns: those of the header, where the file has one; else all of a line. `where` names archive,
    file and line. There is no quoting, as in LRA's files, and no limit to a line's length. A file
    is read in the first folder that holds it. Raises LRAError naming archive and file for a missing
    file or column, and for a line with another number of columns.
    """
    found: dict[str, str] = {}
    for path, file in members(archive, lambda path: PurePosixPath(path).name in names):
        name = PurePosixPath(path).name
        if found.setdefault(name, path) != path:
            say(f"{archive}: {path} is left out, as {found[name]} is read")
            continue
        order, width = range(len(columns)), len(columns)
        for number, line in lines(file):
            where, row = f"{archive}: {name}: line {number}", line.split(b"\t")
            if header and number == 1:
                titles = [title.decode("utf-8", "replace").strip() for title in row]
                lacking = [column for column in columns if column not in titles]
                if lacking:
                    raise LRAError(f"{where}: no column '{lacking[0]}'")
                order, width = [titles.index(column) for column in columns], len(titles)
                continue
            if len(row) != width:
                raise LRAError(f"{where}: {len(row)} columns, not {width}")
            yield name, where, [row[place] for place in order]
        if found.keys() == set(names):
            return  # the rest may be gigabytes of other tasks
    if lacking := set(names) - found.keys():
        raise LRAError(f"{archive}: has no {min(lacking)}")
