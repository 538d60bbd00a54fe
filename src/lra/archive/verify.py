"""Whether an archive agrees with itself; each finding is one line that names the file.

From cheap to dear, and the dear checks only where the cheap ones found nothing: checksums, the
files against one another, Snakemake's plan, tables and figures made again, and cells trained again.
The last three run the code that is in the archive.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from lra.archive import consistency, manifest, zip_file
from lra.archive.jobs import Job
from lra.archive.manifest import About, Omitted, described
from lra.archive.restore import make_data, restore, snakemake
from lra.core.errors import LRAError
from lra.results.records import ScoreRecord, TrainRecord, read_record

REMADE = ("*.parquet", "tables/*", "figures/*", "page.html")  # of an experiment


def verify(archive: Path, rerun: int, cores: int, say: Callable[[str], None]) -> list[str]:
    """Findings, none where all is well. rerun: so many cells are trained again, smallest first.

    Raises LRAError where there is no such archive at all.
    """
    found = zip_file.problems(archive)
    if found:
        return found
    say("checksums: every file is as it was written")
    with tempfile.TemporaryDirectory(prefix="lra-verify-") as name:
        unpacked, folder = Path(name, "unpacked"), Path(name, "restored")
        zip_file.extract(archive, unpacked)
        try:
            about, done = described(unpacked)
            restore(archive, folder)
            found = consistency.problems(unpacked, folder, about, done)
        except LRAError as error:
            return [str(error).replace(f"{unpacked}/", "").replace(f"{folder}/", "")]
        if found:
            return found
        say("crate, records: agree with their profile and with one another")
        remade = _remade(done, about)
        found, rules = _plan(folder, about.targets)
        if rules - {job.rule for job in done if remade & {*job.output}}:
            return found
        if not found:
            say("source, jobs: snakemake has nothing to do in the restored folder")
        # a table that was edited is one reason for a plan, and can be named
        found = _rebuilt(unpacked, folder, remade, cores, _other_versions(about)) or found
        if not found:
            say("tables, figures: made again from the records, the same")
        return found + _again(unpacked, folder, about, done, rerun, cores, say)


def _plan(folder: Path, targets: list[str]) -> tuple[list[str], set[str]]:
    """A finding where there is something to do, and the rules of the jobs."""
    plan = snakemake(folder, "-n", "--", *targets)
    if plan.returncode == 0 and "Nothing to be done" in plan.stdout:
        return [], set()
    wanted = re.findall(r"^Job \d+: (.*)$", plan.stdout, re.MULTILINE)
    if not wanted:
        last = [line for line in plan.stdout.splitlines() if line.strip()][-1:]
        return [f"source: snakemake cannot plan with it ({' '.join(last)})"], {"?"}
    shown = ", ".join(wanted[:3]) + (f" and {len(wanted) - 3} more" if len(wanted) > 3 else "")
    counted = {*re.findall(r"^(\w+) +\d+$", plan.stdout, re.MULTILINE)} - {"total"}
    return [
        f"jobs.json: source, experiment and jobs do not agree; snakemake would run: {shown}"
    ], counted


def _remade(done: list[Job], about: About) -> set[str]:
    """What the records give: tables, figures and the page of them; with data its contact sheets."""
    patterns = [f"results/{about.experiment}/{name}" for name in REMADE]
    if not any(path.endswith(".arrow") for path in about.omitted):
        patterns.append("results/data/*/contact_sheet.png")
    return {
        path for job in done for path in job.output
        if any(PurePosixPath(path).match(pattern) for pattern in patterns)
    }  # fmt: skip


def _other_versions(about: About) -> str:
    """Why what is made again may differ though nobody changed it; empty where it may not."""
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
    """Tables and figures, made again by the archived code from the archived records."""
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
    if old.read_bytes() == new.read_bytes():
        return True
    if old.suffix == ".parquet":  # another pyarrow writes its version
        import pyarrow.parquet as pq

        return pq.read_table(old).equals(pq.read_table(new))
    return False


def _again(
    unpacked: Path,
    folder: Path,
    about: About,
    done: list[Job],
    count: int,
    cores: int,
    say: Callable[[str], None],
) -> list[str]:
    """Train the smallest cells again, from data that is made again."""
    trained = []
    for job in done:
        if job.rule == "evaluate":
            cell = Path(job.output[0]).parent
            record = read_record(unpacked / cell / "train.json", TrainRecord)
            if record.status == "ok":
                trained.append((record.train_seconds, cell.as_posix()))
    if not count:
        return []
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
            reason = [line for line in ran.stdout.splitlines() if line.startswith("lra: ")][-1:]
            found.append(f"{name}: cannot be trained again ({' '.join(reason) or 'see above'})")
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
    """Bits on the same device and torch; else whether the 95 % intervals of accuracy meet."""
    from lra.core.files import sha256

    was, now = (read_record(folder / "train.json", TrainRecord) for folder in (old, new))
    old_score, new_score = (read_record(f / "score.json", ScoreRecord) for f in (old, new))
    if now.status != "ok" or new_score.status != "ok":
        bad = now if now.status != "ok" else new_score
        return [f"{name}: trained again, it ended as {bad.status} ({bad.reason})"], ""
    if (was.device, was.torch_version) == (now.device, now.torch_version):
        weights = f"{name}/checkpoint.safetensors"
        left_out = omitted.get(weights)
        known = left_out.sha256 if left_out else sha256(old / "checkpoint.safetensors")
        lines = []
        if known and sha256(new / "checkpoint.safetensors") != known:
            lines.append(f"{weights}: trained again on the same hardware, it has other bits")
        if not _same(old / "predictions.parquet", new / "predictions.parquet"):
            lines.append(f"{name}/predictions.parquet: trained again, it has other predictions")
        if (old_score.accuracy, old_score.loss) != (new_score.accuracy, new_score.loss):
            lines.append(f"{name}/score.json: trained again, it has another score")
        return lines, f"the same bits on {now.device}"
    low, high = _interval(old_score)
    new_low, new_high = _interval(new_score)
    if max(low, new_low) > min(high, new_high):
        return [
            f"{name}/score.json: {old_score.accuracy:.2f} %, trained again on {now.device} "
            f"{new_score.accuracy:.2f} %: the 95 % intervals do not meet"
        ], ""
    return [], f"{new_score.accuracy:.2f} % on other hardware, within the 95 % interval"


def _interval(score: ScoreRecord) -> tuple[float, float]:
    """Wilson's, in percent."""
    from scipy.stats import binomtest

    right = round(score.accuracy * score.n_test / 100)
    found = binomtest(right, score.n_test).proportion_ci(0.95, method="wilson")
    return 100 * found.low, 100 * found.high
