"""The zip of an archive: stored files in one order and with one time.

The content alone decides its bytes, so nothing can hide between the files.
"""

from __future__ import annotations

import filecmp
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lra.archive import source
from lra.archive.source import FILE, LINK, PROGRAM, Entry, files_in
from lra.core.errors import LRAError
from lra.core.files import one_line
from lra.data.archives import DAMAGE

SUMS = "SHA256SUMS"
TIME = (1980, 1, 1, 0, 0, 0)  # the earliest of a zip


def sums(entries: Mapping[str, Entry]) -> bytes:
    """The text of SHA256SUMS, as sha256sum writes and reads it; of a link that of its target."""
    return "".join(f"{entries[name].sha256()}  {name}\n" for name in sorted(entries)).encode()


def write(path: Path, entries: Mapping[str, Entry]) -> None:
    """Write a zip of the entries beside `path`, then rename it.

    Raises LRAError naming the path where the disk is full or cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as file:
                for name, entry in sorted(entries.items()):
                    info = zipfile.ZipInfo(name, TIME)
                    info.create_system, info.external_attr = 3, entry.mode << 16  # Unix
                    info.file_size = entry.size
                    with entry.open() as content, file.open(info, "w") as out:
                        shutil.copyfileobj(content, out, 1 << 20)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def unpack(path: Path, folder: Path) -> list[str]:
    """`extract`, with its errors; then one line for each difference from SHA256SUMS."""
    extract(path, folder)
    files = files_in(folder)
    if SUMS not in files:
        return [f"{SUMS}: is missing"]
    lines = files.pop(SUMS).read().decode(errors="replace").splitlines()
    recorded, found = {line[66:]: line[:64] for line in lines}, []
    for name in sorted(recorded.keys() | files.keys()):
        if name not in files:
            found.append(f"{name}: is missing")
        elif name not in recorded:
            found.append(f"{name}: is not in {SUMS}; it was added")
        elif files[name].sha256() != recorded[name]:
            found.append(f"{name}: its bytes are not those of {SUMS}")
    if found:
        return found
    again = folder.with_name("again.zip")  # callers unpack within a temporary folder
    write(again, {**files, SUMS: Entry(sums(files))})
    same = filecmp.cmp(path, again, shallow=False)
    again.unlink()
    return [] if same else [f"{path.name}: has bytes that belong to none of its files"]


def extract(path: Path, folder: Path) -> None:
    """Extract to a new folder, links last, so that nothing is written through one.

    Raises LRAError naming the file that is damaged, would lie outside of the folder, or is not of
    the kind that `write` makes.
    """
    try:
        with zipfile.ZipFile(path) as file:
            infos = sorted(file.infolist(), key=lambda info: _mode(info) == LINK)
            _check(infos)
            for info in infos:
                with one_line(folder / info.filename):
                    _extract(file, info, folder / info.filename)
        source.check_links(folder / "source", files_in(folder / "source"))
    except LRAError as error:
        raise LRAError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise LRAError(f"{path}: no such file") from None
    except (*DAMAGE, RuntimeError, ValueError) as error:  # of names and times, too
        raise LRAError(f"{path}: not an archive, or damaged ({error})") from None


def _extract(file: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if _mode(info) == LINK:
        target.symlink_to(file.read(info).decode())
        return
    with file.open(info) as content, target.open("xb") as out:
        shutil.copyfileobj(content, out, 1 << 20)
    target.chmod(target.stat().st_mode | (_mode(info) & 0o111))


def _mode(info: zipfile.ZipInfo) -> int:
    return info.external_attr >> 16


def _check(infos: list[zipfile.ZipInfo]) -> None:
    """Raise LRAError on a name or kind of file that `write` does not make."""
    for info in infos:
        name, path = info.filename, PurePosixPath(info.filename)
        # git knows links and programs of the source, and the hash of its tree has them
        kinds = (FILE, PROGRAM, LINK) if path.parts[:1] == ("source",) else (FILE,)
        if path.is_absolute() or ".." in path.parts or "\\" in name or path.as_posix() != name:
            raise LRAError(f"{name!r}: leads out of the folder")
        if ".git" in map(str.lower, path.parts):
            raise LRAError(f"{name}: git would obey it")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise LRAError(f"{name}: is compressed, which an archive never is")
        if _mode(info) not in kinds:
            raise LRAError(f"{name}: is no file of the kind that an archive has")
