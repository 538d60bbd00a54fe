"""Whether an archive agrees with itself; each finding is one line that names the file.

The checks go from cheap to expensive and stop at the first that finds something: checksums, files
against one another, Snakemake's plan, tables and figures made again, cells trained again. The last
three run the code of the archive.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from lra.archive import consistency, manifest, zip_file
from lra.archive.jobs import Job
from lra.archive.manifest import About
from lra.archive.restore import failure, install, make_data, snakemake
from lra.core.errors import LRAError
from lra.core.files import sha256
from lra.results import layout
from lra.results.records import ScoreRecord, TrainRecord, read_record
from lra.stats.over_examples import share

# Results that follow from the records, below the folder of the experiment.
REMADE = ("*.parquet", "tables/*", "figures/*", layout.PAGE)


def verify(archive: Path, rerun: int, cores: int, say: Callable[[str], None]) -> list[str]:
    """Findings, none where all is well. The smallest `rerun` cells are trained again.

    Raises LRAError where the archive cannot be unpacked.
    """
    with tempfile.TemporaryDirectory(prefix="lra-verify-") as name:
        unpacked, folder = Path(name, "unpacked"), Path(name, "restored")
        found = zip_file.unpack(archive, unpacked)
        if found:
            return found
        say("checksums: every file is as it was written")
        try:
            about, jobs = install(unpacked, folder)
            found = consistency.problems(unpacked, folder, about, jobs)
            if found:
                return found
            say("crate, records: agree with one another")
            planned = _plan(folder, about.targets)
            if not planned:
                say("source, jobs: snakemake has nothing to do in the restored folder")
            # an edited table is one reason to run a job again, and can be named
            found = _rebuilt(unpacked, folder, about, jobs, cores) or planned
            if planned:
                return found
            if not found:
                say("tables, figures: made again from the records, the same")
            if rerun:
                make_data(folder, about, cores)
                for cell in _smallest(unpacked, rerun):
                    wrong, how = _trained(unpacked, folder, cell, about, cores)
                    found += wrong
                    if not wrong:
                        say(f"{cell}: trained again, {how}")
            return found
        except LRAError as error:
            return [*found, str(error).replace(f"{unpacked}/", "").replace(f"{folder}/", "")]


def _plan(folder: Path, targets: list[str]) -> list[str]:
    """A finding where Snakemake would run jobs. Raises LRAError where it cannot plan."""
    plan = snakemake(folder, "-n", "--", *targets)
    if plan.returncode == 0 and "Nothing to be done" in plan.stdout:
        return []
    jobs = re.findall(r"^Job \d+: (.*)$", plan.stdout, re.MULTILINE)
    if not jobs:
        last = [line for line in plan.stdout.splitlines() if line.strip()][-1:]
        raise LRAError(f"source: snakemake cannot plan with it ({' '.join(last)})")
    shown = ", ".join(jobs[:3]) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")
    return [f"jobs.json: source, experiment and jobs do not agree; snakemake would run: {shown}"]


def _rebuilt(unpacked: Path, folder: Path, about: About, jobs: list[Job], cores: int) -> list[str]:
    """Findings in tables and figures that the archive's code makes again from its records.

    The contact sheets of data that is in the archive, too.
    """
    patterns = [f"results/{about.experiment}/{name}" for name in REMADE]
    if not about.left_out_splits:
        patterns.append(f"{layout.DATA}/*/contact_sheet.png")
    outputs = [path for job in jobs for path in job.output]
    paths = [path for path in outputs if any(map(PurePosixPath(path).match, patterns))]
    for path in paths:
        (folder / path).unlink()
    ran = snakemake(folder, "--cores", str(cores), "--rerun-triggers", "mtime", "--", *paths)
    versions, found = _other_versions(about), []
    for path in paths:
        if not (folder / path).is_file():
            found.append(f"{path}: cannot be made again from the records{versions}")
        elif not _same(unpacked / path, folder / path):
            found.append(f"{path}: is not what the records give{versions}")
    if ran.returncode and not found:
        found.append("tables: snakemake failed to make them again")
    return found


def _other_versions(about: About) -> str:
    """Libraries that are not here as they were: a reason for other bytes. Empty where all are."""
    then, here = about.versions, manifest.versions()
    differ = [name for name in sorted(then) if then[name] != here.get(name)]
    others = "; ".join(f"{name} {then[name]}, here {here.get(name)}" for name in differ)
    return f" (made with {others}: install the archive's lock to compare)" if differ else ""


def _same(old: Path, new: Path) -> bool:
    """Whether bytes are equal, or the rows of Parquet: pyarrow writes its version into the file."""
    same = old.read_bytes() == new.read_bytes()
    return same or (old.suffix == ".parquet" and pq.read_table(old).equals(pq.read_table(new)))


def _smallest(unpacked: Path, count: int) -> list[str]:
    """Folders of the cells that were trained in the shortest time."""
    cells = {path.parent.relative_to(unpacked).as_posix(): read_record(path, TrainRecord)
             for path in sorted((unpacked / "results").rglob(layout.TRAIN_FILE))}  # fmt: skip
    trained = [name for name, train in cells.items() if train.status == "ok"]
    return sorted(trained, key=lambda name: cells[name].train_seconds)[:count]


def _trained(
    unpacked: Path, folder: Path, cell: str, about: About, cores: int
) -> tuple[list[str], str]:
    """Findings in a cell that is trained again, and how it agrees."""
    for file in (folder / cell).iterdir():
        file.unlink()
    ran = snakemake(folder, "--cores", str(cores), "--", f"{cell}/{layout.SCORE_FILE}")
    if ran.returncode:
        return [f"{cell}: cannot be trained again ({failure(ran)})"], ""
    return _compared(unpacked / cell, folder / cell, cell, about.omitted)


def _compared(
    old: Path, new: Path, name: str, omitted: Mapping[str, str | None]
) -> tuple[list[str], str]:
    """Findings and how a cell agrees: to the bit on the same device and torch, else by whether the
    95 % intervals of the accuracy meet."""
    train, again = (read_record(folder / layout.TRAIN_FILE, TrainRecord) for folder in (old, new))
    score, scored = (read_record(folder / layout.SCORE_FILE, ScoreRecord) for folder in (old, new))
    if scored.status != "ok":
        return [f"{name}: trained again, it ended as {scored.status} ({scored.reason})"], ""
    device, found = again.device, []
    if (train.device, train.torch_version) == (device, again.torch_version):
        weights = f"{name}/{layout.CHECKPOINT_FILE}"
        known = omitted[weights] if weights in omitted else sha256(old / layout.CHECKPOINT_FILE)
        if known and sha256(new / layout.CHECKPOINT_FILE) != known:
            found.append(f"{weights}: trained again on the same hardware, it has other bits")
        if not _same(old / layout.PREDICTIONS_FILE, new / layout.PREDICTIONS_FILE):
            found.append(f"{name}/predictions.parquet: trained again, it has other predictions")
        if (score.accuracy, score.loss) != (scored.accuracy, scored.loss):
            found.append(f"{name}/score.json: trained again, it has another score")
        return found, f"the same bits on {device}"
    was, now = (share(record.accuracy, record.n_test) for record in (score, scored))
    if max(was.low, now.low) > min(was.high, now.high):
        found.append(
            f"{name}/score.json: {score.accuracy:.2f} %, trained again on {device} "
            f"{scored.accuracy:.2f} %: the 95 % intervals do not meet"
        )
    return found, f"{scored.accuracy:.2f} % on other hardware, within the 95 % interval"
