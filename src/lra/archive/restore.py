"""From an archive to a folder in which Snakemake has nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lra.archive import jobs, manifest, source, zip_file
from lra.archive.jobs import Job
from lra.archive.manifest import About
from lra.core.errors import SPEAKER, LRAError
from lra.core.files import one_line, sha256

CONFIG = "config/archived.yaml"


def restore(archive: Path, folder: Path) -> About:
    """Restore to a new or empty folder. Returns the content of archive.json.

    Raises LRAError naming the file where the archive is damaged or the folder holds something.
    """
    with one_line(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LRAError(f"{folder}: is there and not empty; name a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
            unpacked, restored = Path(name, "unpacked"), Path(name, "restored")
            wrong = zip_file.unpack(archive, unpacked)
            if wrong:
                more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
                raise LRAError(f"{archive}: {wrong[0]}{more}; nothing was restored")
            about, _ = install(unpacked, restored)
            restored.rename(folder)
    return about


def install(unpacked: Path, folder: Path) -> tuple[About, list[Job]]:
    """Make `folder` of an unpacked archive: source, results, and Snakemake's records of the jobs.

    Returns the content of archive.json and jobs.json. Raises LRAError where a part is missing.
    """
    for name in ("source", "results", manifest.NAME, manifest.JOBS, manifest.EXPERIMENT):
        if not (unpacked / name).exists():
            raise LRAError(f"{name}: is missing")
    about, done = manifest.read(unpacked)
    for name, place in (("source", folder), ("results", folder / "results")):
        shutil.copytree(unpacked / name, place, symlinks=True, dirs_exist_ok=True)
    shutil.copy(unpacked / manifest.EXPERIMENT, folder / CONFIG)
    _set_records(folder, done)
    return about, done


def make_data(folder: Path, about: About, cores: int) -> None:
    """Make the splits that the archive left out, in a restored folder, by their recipes.

    They get the times and records of the archive, so that nothing that reads them runs again.
    Raises LRAError naming the split that cannot be made, or has other bytes than it had.
    """
    paths = about.left_out_splits
    if not paths:
        return
    done = jobs.behind(about.targets, folder)
    logs = [folder / log for job in done for log in job.log]
    kept = {log: log.read_bytes() for log in logs if log.is_file()}
    ran = snakemake(folder, "--cores", str(cores), "--", *paths)
    for path in paths:
        if not (folder / path).is_file():
            raise LRAError(f"{path}: cannot be made again ({failure(ran)})")
        if sha256(folder / path) != about.omitted[path]:
            raise LRAError(f"{path}: made again, it has other bytes than archive.json says")
    for log, content in kept.items():
        log.write_bytes(content)
    _set_records(folder, done)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run it in a restored folder; stdout holds both streams."""
    command = [sys.executable, "-m", "snakemake", "--configfile", CONFIG, *arguments]
    return subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def failure(ran: subprocess.CompletedProcess) -> str:
    """The last error line of lra in the output of Snakemake."""
    lines = [line for line in ran.stdout.splitlines() if line.startswith(SPEAKER)]
    return lines[-1] if lines else "snakemake failed"


def _set_records(folder: Path, done: list[Job]) -> None:
    """Write Snakemake's records, and give results the times of their jobs; source is older."""
    jobs.write_records(done, folder)
    times = {path: job.endtime for job in done for path in job.output}
    before = min(job.starttime for job in done) - 1
    for name in source.files_in(folder):
        moment = round(times.get(name, before) * 1e9)
        os.utime(folder / name, ns=(moment, moment), follow_symlinks=False)
