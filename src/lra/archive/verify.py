"""Whether an archive agrees with itself; each finding is one line that names the file.

The checks go from cheap to expensive and stop at the first that finds something: checksums, files
against one another, Snakemake's plan, tables and figures made again, cells trained again. The last
three run the code of the archive.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
            return _Restored(unpacked, folder, about, jobs, cores, say).problems(rerun)
        except LRAError as error:
            return [str(error).replace(f"{unpacked}/", "").replace(f"{folder}/", "")]


@dataclass(frozen=True)
class _Restored:
    """An archive of which the files agree. From here on its code runs."""

    unpacked: Path  # its files
    folder: Path  # what they restore to
    about: About
    jobs: list[Job]
    cores: int
    say: Callable[[str], None]

    def problems(self, rerun: int) -> list[str]:
        planned = _plan(self.folder, self.about.targets)
        if not planned:
            self.say("source, jobs: snakemake has nothing to do in the restored folder")
        # an edited table is one reason to run a job again, and can be named
        found = self._rebuilt() or planned
        if planned:
            return found
        if not found:
            self.say("tables, figures: made again from the records, the same")
        if rerun:
            try:
                make_data(self.folder, self.about, self.cores)
            except LRAError as error:
                return [*found, str(error)]
        return found + [line for name in self._smallest(rerun) for line in self._trained(name)]

    def _rebuilt(self) -> list[str]:
        """Tables and figures, made again from the archive's records by the archive's code.

        The contact sheets of data that is in the archive, too.
        """
        patterns = [f"results/{self.about.experiment}/{name}" for name in REMADE]
        if not self.about.left_out_splits:
            patterns.append(f"{layout.DATA}/*/contact_sheet.png")
        outputs = [path for job in self.jobs for path in job.output]
        paths = [path for path in outputs if any(map(PurePosixPath(path).match, patterns))]
        for path in paths:
            (self.folder / path).unlink()
        ran = snakemake(
            self.folder, "--cores", str(self.cores), "--rerun-triggers", "mtime", "--", *paths
        )
        versions, found = _other_versions(self.about), []
        for path in paths:
            if not (self.folder / path).is_file():
                found.append(f"{path}: cannot be made again from the records{versions}")
            elif not _same(self.unpacked / path, self.folder / path):
                found.append(f"{path}: is not what the records give{versions}")
        if ran.returncode and not found:
            found.append("tables: snakemake failed to make them again")
        return found

    def _smallest(self, count: int) -> list[str]:
        """Folders of the cells that were trained in the shortest time."""
        paths = [path for job in self.jobs for path in job.output
                 if path.endswith(f"/{layout.TRAIN_FILE}")]  # fmt: skip
        records = {path: read_record(self.unpacked / path, TrainRecord) for path in paths}
        trained = [path for path in paths if records[path].status == "ok"]
        trained.sort(key=lambda path: records[path].train_seconds)
        return [path.rpartition("/")[0] for path in trained[:count]]

    def _trained(self, name: str) -> list[str]:
        """Train a cell again, on data that was made again."""
        for file in (self.folder / name).iterdir():
            file.unlink()
        ran = snakemake(
            self.folder, "--cores", str(self.cores), "--", f"{name}/{layout.SCORE_FILE}"
        )
        if ran.returncode:
            return [f"{name}: cannot be trained again ({failure(ran)})"]
        found, how = _compared(self.unpacked / name, self.folder / name, name, self.about.omitted)
        if not found:
            self.say(f"{name}: trained again, {how}")
        return found


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


def _other_versions(about: About) -> str:
    """Libraries that are not here as they were: a reason for other bytes. Empty where all are."""
    then, here = about.versions, manifest.versions()
    differ = [name for name in sorted(then) if then[name] != here.get(name)]
    others = "; ".join(f"{name} {then[name]}, here {here.get(name)}" for name in differ)
    return f" (made with {others}: install the archive's lock to compare)" if differ else ""


def _same(old: Path, new: Path) -> bool:
    """Whether bytes are equal, or the rows of Parquet: pyarrow writes its version into the file."""
    if old.read_bytes() == new.read_bytes():
        return True
    return old.suffix == ".parquet" and pq.read_table(old).equals(pq.read_table(new))


def _compared(
    old: Path, new: Path, name: str, omitted: Mapping[str, str | None]
) -> tuple[list[str], str]:
    """Findings and how a cell agrees: to the bit on the same device and torch, else by whether the
    95 % intervals of the accuracy meet."""
    train, again = (read_record(folder / layout.TRAIN_FILE, TrainRecord) for folder in (old, new))
    score, scored = (read_record(folder / layout.SCORE_FILE, ScoreRecord) for folder in (old, new))
    for record in (again, scored):
        if record.status != "ok":
            line = f"{name}: trained again, it ended as {record.status} ({record.reason})"
            return [line], ""
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
