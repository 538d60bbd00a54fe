"""archive.json: what is known of an experiment besides its jobs."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import Field

from lra.archive.jobs import CHECKSUM, Job
from lra.archive.source import Entry
from lra.config.resolve import datasets
from lra.config.schema import Experiment
from lra.core.errors import LRAError
from lra.core.files import sha256
from lra.core.schema import Strict, checked
from lra.data.manifest import MANIFEST
from lra.data.recipe import Dataset
from lra.results import layout

NAME = "archive.json"
JOBS = "jobs.json"
WEIGHTS = layout.CHECKPOINT_FILE
# Outputs that an archive need not have, and why.
OPTIONAL = {
    f"{layout.DOWNLOADS}/*": "a download, from the publisher of the data set",
    f"{layout.DATA}/*.arrow": "data, remade by its recipe",
    f"*/{WEIGHTS}": "a checkpoint, remade by training its cell",
}
# Libraries that decide the bytes of tables and figures; records have their own version of torch.
LIBRARIES = ("great-tables", "matplotlib", "numpy", "pandas", "pyarrow", "rocrate", "scipy",
             "seaborn", "snakemake")  # fmt: skip


class Split(Strict):
    rows: int
    sha256: str


class Made(Dataset):
    """A data set: its entry in config/datasets.yaml, and the splits that were made"""

    splits: dict[str, Split]


class Omitted(Strict):
    sha256: str | None  # null where the file was not there and no record has its checksum
    why: str


class Hardware(Strict):
    device: str
    torch_version: str
    cuda: str | None  # that torch was built for
    driver: str | None
    records: int  # how many name it


class About(Strict):
    """archive.json"""

    format: Literal[1]
    experiment: str
    protocol: str
    commit: str
    commit_time: int
    dirty: bool  # the checkout had changes, which source.patch has
    redacted: bool  # private text in source.patch was replaced
    tree: str  # hash of the source with its changes
    versions: dict[str, str]  # of the libraries that wrote the archive
    targets: list[str] = Field(min_length=1)  # that no job reads
    data: dict[str, Made]
    hardware: list[Hardware]
    omitted: dict[str, Omitted]  # outputs that are not in the archive
    absent: list[str]  # logs and benchmarks that were not there


def describe(
    experiment: Experiment,
    targets: Iterable[str],
    jobs: list[Job],
    root: Path,
    files: Mapping[str, Entry],
    known: Mapping[str, str | None],
    **origin: Any,
) -> About:
    """The content of archive.json.

    `root` has data sets and their configuration; `files` are those of the archive; `known` has the
    SHA-256 of outputs that are in neither; `origin` has the fields that do not follow from them:
    commit, commit_time, redacted, tree and versions.
    Raises LRAError naming an output that an archive must have.
    """
    # Snakemake wants every output of the job that makes a target: a data set whose splits are not
    # in the archive would be made again. So a target that some job reads is left to that job.
    inputs = {path for job in jobs for path in job.input}
    logs = {path for job in jobs for path in job.log + job.benchmarks}
    omitted = {}
    for path in sorted({path for job in jobs for path in job.output} - {*files}):
        why = why_omitted(path)
        if not why:
            raise LRAError(f"{path}: no such file; run snakemake again")
        there = (root / path).is_file()
        omitted[path] = Omitted(sha256=sha256(root / path) if there else known.get(path), why=why)
    return About(
        format=1,
        experiment=experiment.experiment,
        protocol=experiment.protocol,
        dirty="source.patch" in files,
        targets=sorted({*targets} - inputs),
        data=_data_sets(jobs, root),
        hardware=_hardware(files),
        omitted=omitted,
        absent=sorted(logs - {*files}),
        **origin,
    )


def read(unpacked: Path) -> tuple[About, list[Job]]:
    """archive.json and jobs.json. Raises LRAError naming the one that is missing or damaged."""
    about, jobs = (_json(name, Entry(unpacked / name)) for name in (NAME, JOBS))
    if not isinstance(jobs, list) or not jobs:
        raise LRAError(f"{JOBS}: has no jobs")
    return checked(About, about, NAME), [checked(Job, job, JOBS) for job in jobs]


def record(name: str, entry: Entry) -> dict[str, Any]:
    """A JSON record. Raises LRAError naming the file where it is none."""
    found = _json(name, entry)
    if not isinstance(found, dict):
        raise LRAError(f"{name}: is no JSON record")
    return found


def _json(name: str, entry: Entry) -> Any:
    try:
        return json.loads(entry.read())
    except FileNotFoundError:
        raise LRAError(f"{name}: is missing") from None
    except (ValueError, RecursionError) as error:
        raise LRAError(f"{name}: is not JSON ({error})") from None


def versions() -> dict[str, str]:
    """Of Python and the libraries here."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def why_omitted(path: str) -> str | None:
    """Why an archive need not have an output; None where it must."""
    return next((why for pattern, why in OPTIONAL.items() if fnmatchcase(path, pattern)), None)


def recorded(jobs: Iterable[Job], root: Path) -> dict[str, str]:
    """SHA-256 of results, by the jobs that read them, and of splits, by their dataset.json."""
    inputs = {path: checksum.removeprefix(CHECKSUM) for job in jobs
            for path, checksum in job.input_checksums.items()}  # fmt: skip
    return inputs | {
        f"{layout.DATA}/{name}/{split}.arrow": made.sha256
        for name, data_set in _data_sets(jobs, root).items()
        for split, made in data_set.splits.items()
    }


def _data_sets(jobs: Iterable[Job], root: Path) -> dict[str, Made]:
    """Of every dataset.json that a job wrote."""
    known, found = datasets(root), {}
    for path in (path for job in jobs for path in job.output):
        folder = PurePosixPath(path).parent
        if path == f"{layout.DATA}/{folder.name}/{MANIFEST}":
            if folder.name not in known:
                raise LRAError(f"config/datasets.yaml: has no {folder.name}, which {path} is of")
            splits = record(path, Entry(root / path)).get("splits")
            values = known[folder.name].model_dump() | {"splits": splits}
            found[folder.name] = checked(Made, values, path)
    return found


def _hardware(files: Mapping[str, Entry]) -> list[Hardware]:
    """Every device and version of torch in a record, with the number of its records."""
    counts = Counter()
    for name, entry in files.items():
        if name.startswith("results/") and name.endswith(".json"):
            made = record(name, entry)
            if "device" in made:
                driver = (made.get("gpu") or {}).get("driver")
                counts[made["device"], made.get("torch_version", ""), driver] += 1
    return [
        Hardware(
            device=device, torch_version=torch, cuda=_cuda(torch), driver=driver, records=count
        )
        for (device, torch, driver), count in sorted(counts.items(), key=str)
    ]


def _cuda(torch: str) -> str | None:
    """2.13.0+cu126 -> 12.6"""
    build = torch.partition("+cu")[2]
    return f"{build[:-1]}.{build[-1]}" if build.isdigit() else None
