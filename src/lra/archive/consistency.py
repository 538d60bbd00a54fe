"""Whether the files of an archive agree with one another.

Each check makes again what a file says, from other files. No code of the archive runs.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from lra.archive import descriptions, manifest, zip_file
from lra.archive.descriptions import METADATA, README
from lra.archive.jobs import CHECKSUM, Job, behind
from lra.archive.manifest import About
from lra.archive.source import Entry, files_in
from lra.config.schema import Experiment, load
from lra.core.files import sha256
from lra.results import layout, records
from lra.results.records import read_record, read_table

PREDICTIONS = layout.PREDICTIONS_FILE


def problems(unpacked: Path, folder: Path, about: About, jobs: list[Job]) -> list[str]:
    """Findings. `unpacked` has the files of the archive, `folder` is what they restore to.

    Raises LRAError naming a file that cannot be read.
    """
    files = files_in(unpacked)
    del files[zip_file.SUMS]
    found = _names(files, about, jobs)
    if found:
        return found
    for score in sorted((unpacked / "results").rglob(layout.SCORE_FILE)):
        found += _cell(unpacked, score.parent.relative_to(unpacked), about)
    for first in sorted((unpacked / "results").rglob(layout.PRETRAIN_FILE)):
        record = read_record(first, records.TrainRecord)
        if record.status == "ok":
            found += _curve(
                unpacked, first.parent.relative_to(unpacked), layout.PRETRAIN_FILE, record
            )
    found += _fingerprints(files, about, jobs) + _about(unpacked, folder, files, about, jobs)
    found += _inputs(folder, jobs)
    return found or _descriptions(files, about, jobs)


def _names(files: Mapping[str, Entry], about: About, jobs: list[Job]) -> list[str]:
    """Every file is an output or log of a job, or one of the few others."""
    made = {path for job in jobs for path in job.output + job.log}
    names = {name for name in files if not name.startswith("source/")}
    wanted = made - {*about.omitted, *about.absent}
    wanted |= {manifest.EXPERIMENT, *descriptions.NAMES}
    found = [f"{name}: is missing, and archive.json does not say why" for name in wanted - names]
    found += [f"{name}: is there, and no job of jobs.json made it" for name in names - wanted]
    return sorted(found)


def _about(
    unpacked: Path, folder: Path, files: Mapping[str, Entry], about: About, jobs: list[Job]
) -> list[str]:
    """archive.json and jobs.json against the other files."""
    if behind(about.targets, folder) != jobs:
        return ["jobs.json: its jobs are not those that the targets of archive.json come from"]
    experiment = load(unpacked / manifest.EXPERIMENT, Experiment, unpacked)
    again = manifest.describe(
        experiment, about.targets, jobs, folder, files, about.omitted,
        **about.model_dump(include={"commit", "changed", "redacted", "versions"}),
    )  # fmt: skip
    return _differences(manifest.NAME, about.model_dump(), again.model_dump())


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
        if path in files
        if path.startswith(f"results/{about.experiment}/") and path.endswith(".json")
        if repr(manifest.parsed(path, files[path]).get("fingerprint")) not in job.params
    ]


def _inputs(folder: Path, jobs: Iterable[Job]) -> list[str]:
    """Inputs against the checksums that Snakemake recorded, of all but large files."""
    paths = {path for job in jobs for path in job.input_checksums if (folder / path).is_file()}
    sums = {path: CHECKSUM + sha256(folder / path) for path in paths}
    found = {path: f"{path}: is not what `{job.name}` read"
             for job in jobs for path, recorded in job.input_checksums.items()
             if sums.get(path, recorded) != recorded}  # fmt: skip
    return [*found.values()]


def _descriptions(files: Mapping[str, Entry], about: About, jobs: list[Job]) -> list[str]:
    """README.md and, entity by entity, the metadata against what the other files give."""
    rest = {name: entry for name, entry in files.items() if name not in descriptions.NAMES}
    made = descriptions.describe(about, jobs, rest)
    same = {name: files[name].read() == made[name].read() for name in (README, METADATA)}
    found = [f"{name}: is not what the other files give" for name in same if not same[name]]
    try:
        old, new = (
            {each["@id"]: each for each in json.loads(entry.read())["@graph"]}
            for entry in (files[METADATA], made[METADATA])
        )
        for name in sorted(old.keys() & new.keys() & files.keys()):
            if old[name].get("sha256") != new[name].get("sha256"):
                found.append(f"{name}: is not the file that {METADATA} describes")
                del old[name], new[name]
        return found + _differences(METADATA, old, new)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return [*found, f"{METADATA}: is not the metadata of these files ({error!r})"]


def _cell(unpacked: Path, cell: Path, about: About) -> list[str]:
    """score.json against the predictions and the data set, train.json against the history."""
    score = read_record(unpacked / cell / layout.SCORE_FILE, records.ScoreRecord)
    train = read_record(unpacked / cell / layout.TRAIN_FILE, records.TrainRecord)
    predictions = read_table(unpacked / cell / layout.PREDICTIONS_FILE, records.PredictionRow)
    name = f"{cell}/score.json"
    if score.status != train.status:
        return [f"{name}: status {score.status} is not the {train.status} of train.json"]
    if train.status != "ok":
        results = (score.accuracy, score.loss, train.val_accuracy, train.chosen_step)
        there = len(predictions) or any(value is not None for value in results)
        return [f"{name}: status {score.status}, and there are results"] if there else []
    made, found = about.data.get(score.dataset), []
    rows = made.splits["test"].rows if made and "test" in made.splits else 0
    if score.parts is not None:
        return _parts(name, score, rows) + _curve(unpacked, cell, layout.TRAIN_FILE, train)
    if not len(predictions) == score.n_test == rows:
        found.append(f"{name}: n_test {score.n_test}, {len(predictions)} predictions and {rows} "
                     "examples differ")  # fmt: skip
    if len(predictions):
        labels = predictions["label"]
        right = pc.sum(pc.equal(labels, predictions["prediction"])).as_py() / len(labels)
        majority = pc.max(labels.value_counts().field("counts")).as_py() / len(labels)
        found += _compare(f"{name}: accuracy", score.accuracy, 100 * right, PREDICTIONS)
        found += _compare(f"{name}: chance", score.chance, 100 * majority, PREDICTIONS)
    return found + _curve(unpacked, cell, layout.TRAIN_FILE, train)


def _parts(name: str, score: records.ScoreRecord, rows: int) -> list[str]:
    """Of a cell that predicts tokens: losses and accuracy against those of the positions."""
    found = []
    if score.n_test != rows:
        found.append(f"{name}: n_test {score.n_test} and {rows} examples differ")
    by_position = [part for part in score.parts if part.by == "position"]
    parts = [part for part in by_position if part.times == 1]
    tokens, asked = sum(p.tokens for p in parts), sum(p.predictions for p in parts)
    if not tokens or not asked:
        return [*found, f"{name}: has no parts by position"]
    loss = sum(part.tokens * part.loss for part in parts) / tokens
    right = sum(part.predictions * (part.accuracy or 0) for part in parts) / asked
    found += _compare(f"{name}: loss", score.loss, loss, "its parts")
    found += _compare(f"{name}: accuracy", score.accuracy, right, "its parts")
    if long := [part for part in by_position if part.times > 1]:
        tokens = sum(part.tokens for part in long)
        loss = sum(part.tokens * part.loss for part in long) / tokens
        found += _compare(f"{name}: long_loss", score.long_loss, loss, "its parts")
    return found


def _curve(unpacked: Path, cell: Path, file: str, train: records.TrainRecord) -> list[str]:
    """The record of a training that is ok, or of a pretraining, against its history."""
    name = f"{cell}/{file}"
    history = read_table(unpacked / cell / layout.HISTORY_FILE, records.CurveRow).to_pylist()
    curve = [row["accuracy"] for row in history
             if row["split"] == "val" and row["step"] == train.chosen_step]  # fmt: skip
    if not curve:
        return [f"{name}: history.parquet has no validation at step {train.chosen_step}"]
    return _compare(f"{name}: val_accuracy", train.val_accuracy, curve[-1], "history.parquet")


def _compare(where: str, recorded: float | None, value: float, other: str) -> list[str]:
    if recorded is not None and abs(recorded - value) <= 1e-6:  # never true of NaN
        return []
    return [f"{where} {recorded} is not the {value:g} of {other}"]
