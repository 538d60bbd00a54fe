"""Whether the files of an archive agree with one another.

Each check makes again what a file says, from other files. No code of the archive runs.
"""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lra.archive import crate, crate_check, manifest, zip_file
from lra.archive.crate import METADATA
from lra.archive.jobs import CHECKSUM, Job, behind
from lra.archive.manifest import About
from lra.archive.readme import README, readme
from lra.archive.source import Entry, files_in
from lra.config.schema import Experiment, load
from lra.results import layout
from lra.results.records import (
    CurveRow,
    PredictionRow,
    ScoreRecord,
    TrainRecord,
    read_record,
    read_table,
)

EXPERIMENT = "experiment.yaml"


def problems(unpacked: Path, folder: Path, about: About, jobs: list[Job]) -> list[str]:
    """Findings. `unpacked` has the files of the archive, `folder` is what they restore to.

    Raises LRAError naming a file that cannot be read.
    """
    files = files_in(unpacked)
    del files[zip_file.SUMS]
    found = _names(files, about, jobs)
    if found:
        return found
    for path in (path for job in jobs for path in job.output):
        if path.endswith("/score.json"):
            found += _cell(unpacked, Path(path).parent, about)
    found += _fingerprints(files, about, jobs) + _about(unpacked, folder, files, about, jobs)
    found += _inputs(folder, jobs)
    return found or _readme(files, about) + _metadata(files, about, jobs)


def _names(files: Mapping[str, Entry], about: About, jobs: list[Job]) -> list[str]:
    """Every file is an output or log of a job, or one of the few others."""
    outputs = {path for job in jobs for path in job.output}
    logs = {path for job in jobs for path in job.log + job.benchmarks}
    others = {manifest.NAME, manifest.JOBS, EXPERIMENT, README, METADATA}
    others |= {"source.patch"} if about.dirty else set()
    names = {name for name in files if not name.startswith("source/")}
    wanted = (outputs - {*about.omitted}) | (logs - {*about.absent}) | others
    found = [f"{name}: is missing, and archive.json does not say why" for name in wanted - names]
    found += [f"{name}: is there, and no job of jobs.json made it" for name in names - wanted]
    return sorted(found)


def _about(
    unpacked: Path, folder: Path, files: Mapping[str, Entry], about: About, jobs: list[Job]
) -> list[str]:
    """archive.json and jobs.json against the other files."""
    if behind(about.targets, folder) != jobs:
        return ["jobs.json: its jobs are not those that the targets of archive.json come from"]
    checksums = manifest.recorded(jobs, folder)
    again = manifest.describe(
        load(unpacked / EXPERIMENT, Experiment, unpacked), about.targets, jobs, folder, files,
        {path: omitted.sha256 for path, omitted in about.omitted.items()} | checksums,
        **about.model_dump(include={"commit", "commit_time", "redacted", "tree", "versions"}),
    )  # fmt: skip
    found = _differences(manifest.NAME, about.model_dump(), again.model_dump())
    return found + [
        f"{path}: its SHA-256 is not that of dataset.json"
        for path, checksum in checksums.items()
        if path.endswith(".arrow") and path in files and files[path].sha256() != checksum
    ]


def _differences(where: str, recorded: Any, again: Any) -> list[str]:
    """A line for each value that differs, with the keys that lead to it."""
    if isinstance(recorded, dict) and isinstance(again, dict):
        return [
            line
            for key in sorted({*recorded, *again})
            for line in _differences(f"{where}: {key}", recorded.get(key), again.get(key))
        ]
    if recorded == again:
        return []
    return [f"{where}: {reprlib.repr(recorded)}, but other files give {reprlib.repr(again)}"]


def _fingerprints(files: Mapping[str, Entry], about: About, jobs: list[Job]) -> list[str]:
    return [
        f"{path}: its fingerprint is not that of its job in jobs.json"
        for job in jobs
        for path in job.output
        if path.startswith(f"results/{about.experiment}/") and path.endswith(".json")
        if repr(manifest.record(path, files[path]).get("fingerprint")) not in job.params
    ]


def _inputs(folder: Path, jobs: Iterable[Job]) -> list[str]:
    """Inputs against the checksums that Snakemake recorded, of all but large files."""
    checksums, found = {}, {}
    for job in jobs:
        for path, recorded in job.input_checksums.items():
            if path not in checksums:
                file = folder / path
                checksums[path] = CHECKSUM + Entry(file).sha256() if file.is_file() else recorded
            if checksums[path] != recorded:
                found.setdefault(path, f"{path}: is not what `{job.name}` read")
    return [*found.values()]


def _readme(files: Mapping[str, Entry], about: About) -> list[str]:
    rest = {name: entry for name, entry in files.items() if name not in (README, METADATA)}
    same = readme(about, rest) == files[README].read()
    return [] if same else [f"{README}: is not what the other files give"]


def _metadata(files: Mapping[str, Entry], about: About, jobs: list[Job]) -> list[str]:
    """The metadata against the other files, entity by entity, and against its profile."""
    rest = {name: entry for name, entry in files.items() if name != METADATA}
    try:
        recorded = json.loads(files[METADATA].read())
        again = json.loads(crate.metadata(about, jobs, rest))
        if recorded == again:
            return [f"{METADATA}: {line}" for line in crate_check.problems(recorded)]
        old, new = ({each["@id"]: each for each in graph["@graph"]} for graph in (recorded, again))
        found = []
        for name in sorted({*old, *new}):
            one, other = old.get(name, {}), new.get(name, {})
            keys = {key for key in {*one, *other} if one.get(key) != other.get(key)}
            if keys and keys <= {"contentSize", "sha256"} and name in rest:
                found.append(f"{name}: is not the file that {METADATA} describes")
            else:
                found += _differences(f"{METADATA}: {name}", one, other)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [f"{METADATA}: is not the metadata of these files ({error!r})"]
    return found or [f"{METADATA}: is not what the other files give"]


def _cell(unpacked: Path, cell: Path, about: About) -> list[str]:
    """score.json against the predictions and the data set, train.json against the history."""
    score = read_record(unpacked / cell / layout.SCORE_FILE, ScoreRecord)
    train = read_record(unpacked / cell / layout.TRAIN_FILE, TrainRecord)
    predictions = read_table(unpacked / cell / layout.PREDICTIONS_FILE, PredictionRow)
    name = f"{cell}/score.json"
    if score.status != train.status:
        return [f"{name}: status {score.status} is not the {train.status} of train.json"]
    if train.status != "ok":
        results = (score.accuracy, score.loss, train.val_accuracy, train.chosen_step)
        if len(predictions) or any(value is not None for value in results):
            return [f"{name}: status {score.status}, and there are results"]
        return []
    splits = about.data[score.dataset].splits if score.dataset in about.data else {}
    if "test" not in splits:
        return [f"{name}: dataset: archive.json has no test split of {score.dataset}"]
    rows, found = splits["test"].rows, []
    if not len(predictions) == score.n_test == rows:
        found.append(f"{name}: n_test {score.n_test}, {len(predictions)} predictions and {rows} "
                     "examples differ")  # fmt: skip
    if len(predictions):
        labels = predictions["label"]
        right = pc.sum(pc.equal(labels, predictions["prediction"])).as_py() / len(labels)
        majority = max(Counter(labels.to_pylist()).values()) / len(labels)
        found += _compare(f"{name}: accuracy", score.accuracy, 100 * right, "predictions")
        found += _compare(f"{name}: chance", score.chance, 100 * majority, "predictions")
    name = f"{cell}/train.json"
    history = read_table(unpacked / cell / layout.HISTORY_FILE, CurveRow).to_pylist()
    curve = [row["accuracy"] for row in history
             if row["split"] == "val" and row["step"] == train.chosen_step]  # fmt: skip
    if not curve:
        return [*found, f"{name}: history.parquet has no validation at step {train.chosen_step}"]
    return found + _compare(f"{name}: val_accuracy", train.val_accuracy, curve[-1], "history")


def _compare(where: str, recorded: float | None, value: float, table: str) -> list[str]:
    if recorded is not None and abs(recorded - value) <= 1e-6:  # never true of NaN
        return []
    return [f"{where} {recorded} is not the {value:g} of {table}.parquet"]
