"""Whether an archive agrees with itself; each finding is one line that names the file.

From cheap to dear, and the dear checks only where the cheap ones found nothing: checksums, the
crate's profile, records against one another, Snakemake's plan, tables and figures made again, and
cells trained again. The last three run the code that is in the archive.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.compute as pc

from lra.archive import box, profile
from lra.archive.crate import METADATA
from lra.archive.jobs import Job
from lra.archive.restore import described, make_data, restore, snakemake
from lra.errors import LRAError
from lra.records import CurveRow, PredictionRow, ScoreRecord, TrainRecord, read_record, read_table

REMADE = ("*.parquet", "tables/*", "figures/*", "page.html")  # of an experiment


def verify(archive: Path, rerun: int, cores: int, say: Callable[[str], None]) -> list[str]:
    """Findings, none where all is well. rerun: so many cells are trained again, smallest first.

    Raises LRAError where there is no such archive at all.
    """
    found = box.problems(archive)
    if found:
        return found
    say("checksums: every file is as it was written")
    with tempfile.TemporaryDirectory(prefix="lra-verify-") as name:
        unpacked, folder = Path(name, "unpacked"), Path(name, "restored")
        box.extract(archive, unpacked)
        try:
            about, done = described(unpacked)
            found = [f"{METADATA}: {line}" for line in profile.problems(unpacked / METADATA)]
            found = found or _actions(unpacked, done)
            found += _records(unpacked, about, done)
            if found:
                return found
            say("crate, records: agree with their profile and with one another")
            restore(archive, folder)
        except LRAError as error:
            return [str(error).replace(f"{unpacked}/", "")]
        remade = _remade(done, about["experiment"])
        found, rules = _plan(folder, about["targets"])
        if rules - {job.rule for job in done if remade & {*job.output}}:
            return found
        if not found:
            say("source, jobs: snakemake has nothing to do in the restored folder")
        # a table that was edited is one reason for a plan, and can be named
        found = _rebuilt(unpacked, folder, remade, cores) or found
        if not found:
            say("tables, figures: made again from the records, the same")
        return found + _again(unpacked, folder, about, done, rerun, cores, say)


def _actions(unpacked: Path, done: list[Job]) -> list[str]:
    """The crate's actions are the jobs."""
    from lra.archive.crate import iso

    graph = json.loads((unpacked / METADATA).read_text())["@graph"]
    told = {entity["@id"]: entity for entity in graph}
    found = []
    for job in done:
        action = told.get(f"#job/{job.output[0]}", {})
        same = (action.get("description"), action.get("startTime"), action.get("endTime"))
        if same != (job.shellcmd, iso(job.starttime), iso(job.endtime)):
            found.append(f"{METADATA}: its action for {job.name} is not the job of jobs.json")
    return found


def _records(unpacked: Path, about: dict[str, Any], done: list[Job]) -> list[str]:
    """Each file there or said to be left out, scores as the predictions have them, and so on."""
    found, results = [], f"results/{about['experiment']}/"
    for job in done:
        for path in job.output:
            if not (unpacked / path).is_file() and path not in about["omitted"]:
                found.append(f"{path}: is missing, and archive.json does not say why")
            elif path.startswith(results) and path.endswith(".json"):
                record = _json(unpacked / path)
                if repr(record.get("fingerprint")) not in job.params:
                    found.append(f"{path}: its fingerprint is not that of its job in jobs.json")
        if job.rule == "evaluate":
            found += _score(unpacked, Path(job.output[0]).parent)
    for name, recipe in about["data"].items():
        path = f"results/data/{name}/dataset.json"
        if _json(unpacked / path).get("splits") != recipe.get("splits"):
            found.append(f"{path}: its checksums are not those of archive.json")
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise LRAError(f"{path}: is no JSON record ({error})") from None


def _score(unpacked: Path, cell: Path) -> list[str]:
    """One cell's score.json against its predictions, and its train.json against its history."""
    found = []
    score = read_record(unpacked / cell / "score.json", ScoreRecord)
    rows = read_table(unpacked / cell / "predictions.parquet", PredictionRow)
    if score.status == "ok":
        right = pc.sum(pc.equal(rows["label"], rows["prediction"])).as_py() or 0
        majority = max(pc.value_counts(rows["label"]).field("counts").to_pylist())
        facts = {"n_test": len(rows), "accuracy": 100 * right / len(rows),
                 "chance": 100 * majority / len(rows)}  # fmt: skip
        found += [
            f"{cell}/score.json: {key} {getattr(score, key)} is not the {value:g} of"
            " predictions.parquet"
            for key, value in facts.items()
            if abs((getattr(score, key) or 0) - value) > 1e-6
        ]
    train = read_record(unpacked / cell / "train.json", TrainRecord)
    if train.status == "ok" and train.val_accuracy is not None:
        history = read_table(unpacked / cell / "history.parquet", CurveRow).to_pylist()
        curve = [row["accuracy"] for row in history
                 if row["split"] == "val" and row["step"] == train.chosen_step]  # fmt: skip
        if curve and abs(curve[-1] - train.val_accuracy) > 1e-6:
            found.append(
                f"{cell}/train.json: val_accuracy {train.val_accuracy} is not the {curve[-1]:g} of"
                " history.parquet"
            )
    return found


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


def _remade(done: list[Job], experiment: str) -> set[str]:
    """What the records give: tables, figures and the page of them."""
    patterns = [f"results/{experiment}/{name}" for name in REMADE]
    return {
        path for job in done for path in job.output
        if any(PurePosixPath(path).match(pattern) for pattern in patterns)
    }  # fmt: skip


def _rebuilt(unpacked: Path, folder: Path, remade: set[str], cores: int) -> list[str]:
    """Tables and figures, made again by the archived code from the archived records."""
    paths = sorted(remade)
    for path in paths:
        (folder / path).unlink()
    ran = snakemake(folder, "--cores", str(cores), "--", *paths)
    found = []
    for path in paths:
        if not (folder / path).is_file():
            found.append(f"{path}: cannot be made again from the records")
        elif not _same(unpacked / path, folder / path):
            found.append(f"{path}: is not what the records give")
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
    about: dict[str, Any],
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
        lines, how = _compared(unpacked / name, folder / name, name, about)
        found += lines
        if not lines:
            say(f"{name}: trained again, {how}")
    if count > len(trained):
        say(f"{len(trained)} cells are all that there are to train again")
    return found


def _compared(old: Path, new: Path, name: str, about: dict[str, Any]) -> tuple[list[str], str]:
    """Bits on the same device and torch; else whether the 95 % intervals of accuracy meet."""
    from lra.data.manifest import sha256

    was, now = (read_record(folder / "train.json", TrainRecord) for folder in (old, new))
    old_score, new_score = (read_record(f / "score.json", ScoreRecord) for f in (old, new))
    if now.status != "ok" or new_score.status != "ok":
        bad = now if now.status != "ok" else new_score
        return [f"{name}: trained again, it ended as {bad.status} ({bad.reason})"], ""
    if (was.device, was.torch_version) == (now.device, now.torch_version):
        weights = f"{name}/checkpoint.safetensors"
        left_out = about["omitted"].get(weights)
        known = left_out["sha256"] if left_out else sha256(old / "checkpoint.safetensors")
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
