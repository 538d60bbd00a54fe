"""Whether the files of an archive agree with one another; nothing of it is run.

Each check makes what a file says again from others, and names the file that says something else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow.compute as pc
import yaml

from lra.archive import crate, crate_check, manifest, zip_file
from lra.archive.crate import METADATA
from lra.archive.jobs import CHECKSUM, Job, behind
from lra.archive.manifest import About
from lra.archive.readme import NAME, readme
from lra.archive.zip_file import Kept
from lra.config.cell import Cell, read
from lra.config.schema import Experiment
from lra.results.records import (
    CurveRow,
    PredictionRow,
    ScoreRecord,
    TrainRecord,
    read_record,
    read_table,
)

WHOLE = {"archive.json", "experiment.yaml", "jobs.json", NAME, METADATA, zip_file.SUMS}


def problems(unpacked: Path, folder: Path, about: About, done: list[Job]) -> list[str]:
    """Findings; unpacked: the archive's files, folder: what they restore to."""
    found = _names(unpacked, about, done)
    if found:
        return found
    files = {path.relative_to(unpacked).as_posix(): Kept(path)
             for path in unpacked.rglob("*")
             if path.is_file() and not path.is_symlink()}  # fmt: skip
    del files[zip_file.SUMS], files[METADATA]
    cells = [Path(job.output[0]).parent for job in done if job.rule == "evaluate"]
    found = [line for cell in cells for line in _cell(unpacked, cell, about)]
    found += _fingerprints(unpacked, about, done) + _experiment(unpacked, about)
    found += _facts(files, folder, about, done) + _read(folder, about, done)
    found += [f"{METADATA}: {line}" for line in crate_check.problems(unpacked / METADATA)]
    return found or _readme_and_crate(unpacked, files, about, done)


def _names(unpacked: Path, about: About, done: list[Job]) -> list[str]:
    """Every file is an output or log of a job, or one of the few others."""
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")
             if path.is_file() or path.is_symlink()}  # fmt: skip
    there = {name for name in there if not name.startswith("source/")}
    made = {path for job in done for path in job.output}
    logs = {path for job in done for path in job.log + job.benchmarks}
    wanted = (made - {*about.omitted}) | (logs - {*about.absent}) | WHOLE
    wanted |= {"source.patch"} if about.dirty else set()
    found = [f"{name}: is missing, and archive.json does not say why" for name in wanted - there]
    found += [f"{name}: is there, and no job of jobs.json made it" for name in there - wanted]
    found += [f"archive.json: omitted: {path} is of no job" for path in {*about.omitted} - made]
    return sorted(found)


def _fingerprints(unpacked: Path, about: About, done: list[Job]) -> list[str]:
    return [
        f"{path}: its fingerprint is not that of its job in jobs.json"
        for job in done
        for path in job.output
        if path.startswith(f"results/{about.experiment}/") and path.endswith(".json")
        if repr(manifest.record(path, Kept(unpacked / path)).get("fingerprint")) not in job.params
    ]


def _experiment(unpacked: Path, about: About) -> list[str]:
    try:
        told = Experiment(**yaml.safe_load((unpacked / "experiment.yaml").read_text()))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        return [f"experiment.yaml: is no experiment ({str(error).splitlines()[0]})"]
    return [
        f"archive.json: {key} {said} is not the {value} of experiment.yaml"
        for key, said, value in (("experiment", about.experiment, told.experiment),
                                 ("protocol", about.protocol, told.protocol))
        if said != value
    ]  # fmt: skip


def _facts(files: Mapping[str, Kept], folder: Path, about: About, done: list[Job]) -> list[str]:
    """What archive.json says follows from the other files."""
    found = []
    if manifest.hardware(files) != about.hardware:
        found.append("archive.json: hardware is not that of the records")
    for name, made in manifest.recipes(done, folder).items():
        told = about.data.get(name)
        if told is None or told.splits != made.splits:
            found.append(
                f"results/data/{name}/dataset.json: its checksums are not those of archive.json"
            )
        elif told != made:
            found.append(f"archive.json: data: {name} is not as config/datasets.yaml has it")
    if behind(about.targets, folder) != done:
        found.append("jobs.json: its jobs are not those that the targets of archive.json come from")
    known = manifest.recorded(done, about.data)
    found += [
        f"{path}: its SHA-256 is not that of dataset.json"
        for path in known
        if path.endswith(".arrow") and path in files and zip_file.sha256(files[path]) != known[path]
    ]
    for path, omitted in about.omitted.items():
        if omitted.why != manifest.why_omitted(path):
            found.append(f"archive.json: omitted: {path} is not what an archive leaves out")
        if omitted.sha256 != known.get(path, omitted.sha256):
            found.append(f"archive.json: omitted: {path} has another SHA-256 than its records say")
    return found


def _read(folder: Path, about: About, done: Iterable[Job]) -> list[str]:
    """The inputs are what the jobs read: Snakemake keeps the checksums of all but large ones."""
    sums, found = {}, {}
    for job in done:
        for path, told in job.input_checksums.items():
            if path not in sums:
                there = (folder / path).is_file()
                sums[path] = CHECKSUM + zip_file.sha256(Kept(folder / path)) if there else told
            if sums[path] != told:
                found.setdefault(path, f"{path}: is not what `{job.name}` read")
    return [*found.values()]


def _readme_and_crate(
    unpacked: Path, files: Mapping[str, Kept], about: About, done: list[Job]
) -> list[str]:
    """Both are made again; an entity of the metadata that differs is named with what differs."""
    found = []
    rest = {name: entry for name, entry in files.items() if name != NAME}
    if readme(about, rest) != (unpacked / NAME).read_bytes():
        found.append(f"{NAME}: is not what the archive gives")
    told = json.loads((unpacked / METADATA).read_bytes())
    try:
        again = json.loads(crate.metadata(about, done, files))
    except ValueError as error:  # a benchmark that is none
        return [*found, f"{METADATA}: cannot be made again ({error})"]
    if told == again:
        return found
    old, new = ({each["@id"]: each for each in graph["@graph"]} for graph in (told, again))
    lines = []
    for name in sorted({*old} | {*new}):
        one, other = old.get(name, {}), new.get(name, {})
        keys = sorted(key for key in {*one} | {*other} if one.get(key) != other.get(key))
        if keys and {*keys} <= {"contentSize", "sha256"} and name in files:
            lines.append(f"{name}: is not the file that {METADATA} describes")
        elif keys:
            lines.append(f"{METADATA}: {name}: {', '.join(keys)}: not what the archive gives")
    return found + (lines or [f"{METADATA}: is not what the archive gives"])


def _cell(unpacked: Path, cell: Path, about: About) -> list[str]:
    """score.json against the predictions and the data set, train.json against the history."""
    score = read_record(unpacked / cell / "score.json", ScoreRecord)
    train = read_record(unpacked / cell / "train.json", TrainRecord)
    table = read_table(unpacked / cell / "predictions.parquet", PredictionRow)
    name = f"{cell}/score.json"
    if score.status != train.status:
        return [f"{name}: status {score.status} is not the {train.status} of train.json"]
    if train.status != "ok":
        of_none = (score.accuracy, score.loss, train.val_accuracy, train.chosen_step)
        if len(table) or any(value is not None for value in of_none):
            return [f"{name}: status {score.status}, and there are results"]
        return []
    dataset = read(Cell, str(unpacked / cell / "config.yaml")).dataset
    splits = about.data[dataset].splits if dataset in about.data else {}
    if "test" not in splits:
        return [f"{cell}/config.yaml: archive.json has no test split of {dataset}"]
    rows, found = splits["test"].rows, []
    if not len(table) == score.n_test == rows:
        found.append(
            f"{name}: n_test {score.n_test}, {len(table)} predictions and {rows} examples differ"
        )
    if len(table):
        counts = Counter(table["label"].to_pylist())
        right = pc.sum(pc.equal(table["label"], table["prediction"])).as_py()
        found += _differ(name, score.accuracy, 100 * right / len(table), "predictions", "accuracy")
        found += _differ(name, score.chance, 100 * max(counts.values()) / len(table), "predictions",
                         "chance")  # fmt: skip
    name = f"{cell}/train.json"
    history = read_table(unpacked / cell / "history.parquet", CurveRow).to_pylist()
    curve = [row["accuracy"] for row in history
             if row["split"] == "val" and row["step"] == train.chosen_step]  # fmt: skip
    if not curve:
        found.append(f"{name}: history.parquet has no validation at step {train.chosen_step}")
    else:
        found += _differ(name, train.val_accuracy, curve[-1], "history", "val_accuracy")
    return found


def _differ(name: str, said: float | None, value: float, of: str, key: str) -> list[str]:
    if said is not None and abs(said - value) <= 1e-6:  # never true of NaN
        return []
    return [f"{name}: {key} {said} is not the {value:g} of {of}.parquet"]
