"""From an archive to a folder in which Snakemake has nothing to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lra.archive import jobs, source, zip_file
from lra.archive.manifest import About, described
from lra.core.errors import LRAError
from lra.core.files import one_line
from lra.core.files import sha256

CONFIG = "config/archived.yaml"


def restore(archive: Path, folder: Path) -> About:
    """Unpack into a new or empty folder: the source that ran, results, and Snakemake's records,
    with the times that they had. Returns the content of archive.json.

    Raises LRAError naming the file where the archive is damaged or the folder holds something.
    """
    wrong = zip_file.problems(archive)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise LRAError(f"{archive}: {wrong[0]}{more}; nothing was restored")
    with one_line(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LRAError(f"{folder}: is there and not empty; name a new folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
            unpacked = Path(name)
            zip_file.extract(archive, unpacked)
            about, done = described(unpacked)
            tree = unpacked / "source"
            if (unpacked / "source.patch").exists():
                source.apply(unpacked / "source.patch", tree)
            if source.tree_hash(source.files_in(tree)) != about.tree:
                raise LRAError("source: with source.patch it is not the tree of archive.json")
            source.check_links(tree)
            shutil.copytree(unpacked / "results", tree / "results", dirs_exist_ok=True)
            shutil.copy(unpacked / "experiment.yaml", tree / CONFIG)
            jobs.write_records(done, tree)
            _set_times(tree, done)
            if folder.exists():
                folder.rmdir()
            tree.rename(folder)
    return about


def make_data(folder: Path, about: About, cores: int) -> None:
    """Make what the archive left out of the data, by its recipes, in a restored folder, with the
    times and records that it had: nothing that reads it is to be done again.

    Raises LRAError naming the file where one cannot be made, or is not the same as it was.
    """
    paths = [path for path in about.omitted if path.endswith(".arrow")]
    if not paths:
        return
    done = jobs.behind(about.targets, folder)
    logs = [folder / log for job in done if {*job.output} & {*paths}
            for log in job.log + job.benchmarks]  # fmt: skip
    told = {log: log.read_bytes() for log in logs if log.is_file()}
    ran = snakemake(folder, "--cores", str(cores), "--", *paths)
    for path in paths:
        if not (folder / path).is_file():
            reason = [line for line in ran.stdout.splitlines() if line.startswith("lra: ")][-1:]
            raise LRAError(
                f"{path}: cannot be made again ({''.join(reason) or 'snakemake failed'})"
            )
        if sha256(folder / path) != about.omitted[path].sha256:
            raise LRAError(f"{path}: made again, it has other bytes than archive.json says")
    for log, text in told.items():
        log.write_bytes(text)
    jobs.write_records(done, folder)
    _set_times(folder, done)


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run it in a restored folder; stdout holds both streams."""
    command = [sys.executable, "-m", "snakemake", "--configfile", CONFIG, *arguments]
    return subprocess.run(
        command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _set_times(folder: Path, done: list[jobs.Job]) -> None:
    """Results get the times of their jobs; source is older than all of them."""
    times = {path: time for job in done for path, time in job.endtimes.items()}
    before = min(job.starttime for job in done) - 1
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_file():
            name = path.relative_to(folder).as_posix()
            moment = round(times.get(name, before) * 1e9)
            os.utime(path, ns=(moment, moment), follow_symlinks=False)
