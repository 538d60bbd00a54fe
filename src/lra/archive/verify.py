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
from scipy.stats import binomtest

from lra.archive import consistency, manifest, zip_file
from lra.archive.jobs import Job
from lra.archive.manifest import WEIGHTS, About, Omitted
from lra.archive.restore import failure, install, make_data, snakemake
from lra.core.errors import LRAError
from lra.core.files import sha256
from lra.results import layout
from lra.results.records import ScoreRecord, TrainRecord, read_record

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
            about, jobs = manifest.read(unpacked)
            install(unpacked, folder, about, jobs)
            found = consistency.problems(unpacked, folder, about, jobs)
        except LRAError as error:
            return [str(error).replace(f"{unpacked}/", "").replace(f"{folder}/", "")]
        if found:
            return found
        say("crate, records: agree with their profile and with one another")
        remade = _remade(jobs, about)
        found, rules = _plan(folder, about.targets)
        if rules - {job.rule for job in jobs if remade & {*job.output}}:
            return found
        if not found:
            say("source, jobs: snakemake has nothing to do in the restored folder")
        # an edited table is one reason to run a job again, and can be named
        found = _rebuilt(unpacked, folder, remade, cores, _other_versions(about)) or found
        if not found:
            say("tables, figures: made again from the records, the same")
        return found + _again(unpacked, folder, about, jobs, rerun, cores, say)


def _plan(folder: Path, targets: list[str]) -> tuple[list[str], set[str]]:
    """A finding where Snakemake would run jobs, and the rules of those jobs."""
    plan = snakemake(folder, "-n", "--", *targets)
    if plan.returncode == 0 and "Nothing to be done" in plan.stdout:
        return [], set()
    planned = re.findall(r"^Job \d+: (.*)$", plan.stdout, re.MULTILINE)
    if not planned:
        last = [line for line in plan.stdout.splitlines() if line.strip()][-1:]
        return [f"source: snakemake cannot plan with it ({' '.join(last)})"], {"?"}
    shown = ", ".join(planned[:3]) + (f" and {len(planned) - 3} more" if len(planned) > 3 else "")
    rules = {*re.findall(r"^(\w+) +\d+$", plan.stdout, re.MULTILINE)} - {"total"}
    return [
        f"jobs.json: source, experiment and jobs do not agree; snakemake would run: {shown}"
    ], rules


def _remade(jobs: list[Job], about: About) -> set[str]:
    """Outputs that follow from the records, and the contact sheets of data in the archive."""
    patterns = [f"results/{about.experiment}/{name}" for name in REMADE]
    if not any(path.endswith(".arrow") for path in about.omitted):
        patterns.append(f"{layout.DATA}/*/contact_sheet.png")
    return {
        path for job in jobs for path in job.output
        if any(PurePosixPath(path).match(pattern) for pattern in patterns)
    }  # fmt: skip


def _other_versions(about: About) -> str:
    """Libraries that are not here as they were: a reason for other bytes. Empty where all are."""
    here = manifest.versions()
    others = [
        f"{name} {then}, here {here.get(name)}"
        for name, then in sorted(about.versions.items())
        if then != here.get(name)
    ]
    if not others:
        return ""
    return f" (made with {'; '.join(others)}: install the archive's lock to compare)"


def _rebuilt(
    unpacked: Path, folder: Path, remade: set[str], cores: int, versions: str
) -> list[str]:
    """Tables and figures, made again from the archive's records by the archive's code."""
    paths = sorted(remade)
    for path in paths:
        (folder / path).unlink()
    ran = snakemake(folder, "--cores", str(cores), "--", *paths)
    found = []
    for path in paths:
        if not (folder / path).is_file():
            found.append(f"{path}: cannot be made again from the records{versions}")
        elif not _same(unpacked / path, folder / path):
            found.append(f"{path}: is not what the records give{versions}")
    if ran.returncode and not found:
        found.append("tables: snakemake failed to make them again")
    return found


def _same(old: Path, new: Path) -> bool:
    """Whether bytes are equal, or the rows of Parquet: pyarrow writes its version into the file."""
    if old.read_bytes() == new.read_bytes():
        return True
    return old.suffix == ".parquet" and pq.read_table(old).equals(pq.read_table(new))


def _again(
    unpacked: Path,
    folder: Path,
    about: About,
    jobs: list[Job],
    count: int,
    cores: int,
    say: Callable[[str], None],
) -> list[str]:
    """Train the smallest cells again, on data that is made again."""
    if not count:
        return []
    trained = []
    for path in (path for job in jobs for path in job.output):
        if path.endswith("/train.json"):
            record = read_record(unpacked / path, TrainRecord)
            if record.status == "ok":
                trained.append((record.train_seconds, path.removesuffix("/train.json")))
    try:
        make_data(folder, about, cores)
    except LRAError as error:
        return [str(error)]
    found = []
    for _, name in sorted(trained)[:count]:
        for file in (folder / name).iterdir():
            file.unlink()
        ran = snakemake(folder, "--cores", str(cores), "--", f"{name}/score.json")
        if ran.returncode:
            found.append(f"{name}: cannot be trained again ({failure(ran)})")
            continue
        lines, how = _compared(unpacked / name, folder / name, name, about.omitted)
        found += lines
        if not lines:
            say(f"{name}: trained again, {how}")
    if count > len(trained):
        say(f"{len(trained)} cells are all that there are to train again")
    return found


def _compared(
    old: Path, new: Path, name: str, omitted: Mapping[str, Omitted]
) -> tuple[list[str], str]:
    """Findings and how a cell agrees: to the bit on the same device and torch, else by whether the
    95 % intervals of the accuracy meet."""
    train, new_train = (
        read_record(folder / layout.TRAIN_FILE, TrainRecord) for folder in (old, new)
    )
    score, new_score = (
        read_record(folder / layout.SCORE_FILE, ScoreRecord) for folder in (old, new)
    )
    for record in (new_train, new_score):
        if record.status != "ok":
            line = f"{name}: trained again, it ended as {record.status} ({record.reason})"
            return [line], ""
    device = new_train.device
    if (train.device, train.torch_version) == (device, new_train.torch_version):
        weights = f"{name}/{WEIGHTS}"
        known = omitted[weights].sha256 if weights in omitted else sha256(old / WEIGHTS)
        lines = []
        if known and sha256(new / WEIGHTS) != known:
            lines.append(f"{weights}: trained again on the same hardware, it has other bits")
        if not _same(old / layout.PREDICTIONS_FILE, new / layout.PREDICTIONS_FILE):
            lines.append(f"{name}/predictions.parquet: trained again, it has other predictions")
        if (score.accuracy, score.loss) != (new_score.accuracy, new_score.loss):
            lines.append(f"{name}/score.json: trained again, it has another score")
        return lines, f"the same bits on {device}"
    (low, high), (new_low, new_high) = _interval(score), _interval(new_score)
    if max(low, new_low) > min(high, new_high):
        return [
            f"{name}/score.json: {score.accuracy:.2f} %, trained again on {device} "
            f"{new_score.accuracy:.2f} %: the 95 % intervals do not meet"
        ], ""
    return [], f"{new_score.accuracy:.2f} % on other hardware, within the 95 % interval"


def _interval(score: ScoreRecord) -> tuple[float, float]:
    """Wilson's 95 % interval of the accuracy, as fractions."""
    right = round(score.accuracy * score.n_test / 100)
    return tuple(binomtest(right, score.n_test).proportion_ci(0.95, method="wilson"))
