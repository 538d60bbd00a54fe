"""Archives as a forger would leave them: with SHA256SUMS to match, or with all that follows."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

from lra.archive import descriptions, manifest, zip_file
from lra.archive.jobs import CHECKSUM
from lra.archive.source import Entry


def entries_of(path: Path) -> dict[str, Entry]:
    with zipfile.ZipFile(path) as file:
        return {
            info.filename: Entry(file.read(info), info.external_attr >> 16)
            for info in file.infolist()
        }


def read(path: Path, name: str) -> bytes:
    """One file of an archive."""
    return entries_of(path)[name].content


def forged(path: Path, old: Path, whole: bool = False, **changed: bytes | None) -> Path:
    """`old` with other content (None: without the file), at `path`.

    whole: with the checksums of its jobs' inputs, README and metadata to match, too.
    """
    entries = entries_of(old)
    del entries[zip_file.SUMS]
    for name, content in changed.items():
        before = entries.pop(name, Entry(b""))
        if content is not None:
            entries[name] = Entry(content, before.mode)
    if whole:
        jobs = json.loads(entries["jobs.json"].content)
        for job in jobs:
            for name in {*job["input_checksums"]} & {*changed}:
                job["input_checksums"][name] = CHECKSUM + entries[name].sha256()
        entries["jobs.json"] = Entry(json.dumps(jobs).encode())
        with tempfile.TemporaryDirectory() as folder:
            for name in ("archive.json", "jobs.json"):
                Path(folder, name).write_bytes(entries[name].content)
            about, done = manifest.read(Path(folder))
        for name in descriptions.NAMES:
            del entries[name]
        entries |= descriptions.describe(about, done, entries)
    entries[zip_file.SUMS] = Entry(zip_file.sums(entries))
    zip_file.write(path, entries)
    return path
