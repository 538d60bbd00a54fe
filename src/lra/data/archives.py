"""Reads the files of an archive as streams; nothing is unpacked to disk.

Names in an archive are compared and never opened as paths. So `../x`, `/etc/x` and links in an
archive reach no file of this machine.
"""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa
from pyarrow import csv

from lra.core.errors import LRAError
from lra.core.files import set_aside

GZIPPED = (".tar.gz", ".tgz", ".gz")  # a tar in all of them
BUFFER = 2**18  # bytes
DAMAGE = (
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,  # raised by gzip and bz2 for bad data, without an errno
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,  # raised by zipfile for an unknown version or compression
)


def members(
    path: Path, wanted: Collection[str] | Callable[[str], bool]
) -> Iterator[tuple[str, BinaryIO]]:
    """(name, file object) of every regular file that is `wanted`, in the archive's order.

    wanted: names, each of which must be there, or a function of a name.
    The archive (tar in gzip, or zip) is read once from start to end. Read each file before asking
    for the next, which closes it. A truncated or damaged archive is renamed to `<path>.bad`;
    LRAError then comes from here or from the file object's `read`.
    """
    if path.name.endswith(".zip"):
        opened = _zipped
    elif path.name.endswith(GZIPPED):
        opened = _tarred
    else:
        raise LRAError(
            f"{path}: not an archive; its name ends in none of {', '.join(GZIPPED)}, .zip"
        )
    missing = set() if callable(wanted) else set(wanted)
    keep = wanted if callable(wanted) else frozenset(wanted).__contains__
    with _damage_set_aside(path):
        for name, inner in opened(path, keep):
            missing.discard(name)
            with io.BufferedReader(_Guarded(inner, path)) as file:
                yield name, file
    if missing:
        raise LRAError(f"{path}: holds no file '{min(missing)}'")


@contextmanager
def _damage_set_aside(path: Path) -> Iterator[None]:
    try:
        yield
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


def _tarred(path: Path, keep: Callable[[str], bool]) -> Iterator[tuple[str, BinaryIO]]:
    with (
        gzip.open(path) as unzipped,
        io.BufferedReader(unzipped, BUFFER) as stream,  # tarfile asks for 512 bytes at a time
        tarfile.open(fileobj=stream, mode="r:") as tar,
    ):
        while (info := tar.next()) is not None:
            tar.members.clear()  # it would keep every header until the end
            if info.isreg() and keep(info.name):
                yield info.name, tar.extractfile(info)
        # gzip's checksum is at the end; tarfile takes a damaged header for the tar's end
        while rest := stream.read(BUFFER):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("a damaged header")


def _zipped(path: Path, keep: Callable[[str], bool]) -> Iterator[tuple[str, BinaryIO]]:
    with zipfile.ZipFile(path) as archive:
        for info in sorted(archive.infolist(), key=_place):
            if _is_regular(info) and keep(info.filename):
                if info.flag_bits & 1:
                    raise zipfile.BadZipFile(f"'{info.filename}' is encrypted")
                with archive.open(info) as file:
                    yield info.filename, file


def _place(info: zipfile.ZipInfo) -> int:
    return info.header_offset


def _is_regular(info: zipfile.ZipInfo) -> bool:
    """Archives made on Unix hold the file's mode, others hold 0."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return not info.is_dir() and kind in (0, stat.S_IFREG)


BLOCK = 4 << 20  # bytes; no line is longer


def tsv_batches(
    archive: Path, names: Collection[str], columns: dict[str, pa.DataType], header: bool
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """(name, rows) of the TSV files of these names, in any folder, a block at a time.

    columns: name -> type, in the file's order where it has no `header`. There is no quoting, as in
    LRA's files. Raises LRAError naming archive and file for a missing file or column, and for a
    line that does not fit the columns.
    """
    found = set()
    parse = csv.ParseOptions(delimiter="\t", quote_char=False)
    read = csv.ReadOptions(column_names=None if header else list(columns), block_size=BLOCK)
    convert = csv.ConvertOptions(
        column_types=columns, include_columns=list(columns), strings_can_be_null=False
    )
    for path, file in members(archive, lambda path: PurePosixPath(path).name in names):
        name = PurePosixPath(path).name
        found.add(name)
        try:
            for batch in csv.open_csv(file, read, parse, convert):
                yield name, batch
        except KeyError as error:
            raise LRAError(f"{archive}: {name}: {error.args[0]}") from None
        except pa.ArrowInvalid as error:
            raise LRAError(f"{archive}: {name}: {str(error).splitlines()[0]}") from None
        if found == set(names):
            return  # the rest may be gigabytes of other tasks
    raise LRAError(f"{archive}: has no {min(set(names) - found)}")
