"""archive.json and jobs.json: what is known of an archive, and the files from which it follows."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lra.archive.jobs import Job
from lra.archive.source import Entry
from lra.archive.zip_file import Kept
from lra.config.resolve import datasets
from lra.core.errors import LRAError
from lra.core.schema import Strict
from lra.data.recipe import Dataset

FORMAT = 2
WEIGHTS = "checkpoint.safetensors"
# What else decides the bytes of tables and figures; torch is each record's own.
LIBRARIES = ("great-tables", "matplotlib", "numpy", "pandas", "pyarrow", "rocrate", "scipy",
             "seaborn", "snakemake")  # fmt: skip


class Split(Strict):
    rows: int
    sha256: str


class Made(Dataset):
    """A data set: how to make it, its licence, and what came of it."""

    splits: dict[str, Split]


class Omitted(Strict):
    sha256: str | None  # null where the file was not there, and nothing had recorded it
    why: str


class Hardware(Strict):
    device: str
    torch_version: str
    cuda: str | None  # that torch was built for
    driver: str | None
    records: int  # made with it


class About(Strict):
    """archive.json"""

    format: Literal[2]
    experiment: str
    protocol: str
    commit: str
    commit_time: int
    dirty: bool  # the tree had changes, which are in source.patch
    scrubbed: bool  # and something private in them was replaced
    tree: str  # hash of the source with its changes
    versions: dict[str, str]  # of what the archive was written with
    targets: list[str] = Field(min_length=1)  # what no job reads
    data: dict[str, Made]
    hardware: list[Hardware]
    omitted: dict[str, Omitted]  # outputs that are not in the archive
    absent: list[str]  # logs and benchmarks that were not there


def described(unpacked: Path) -> tuple[About, list[Job]]:
    """archive.json and jobs.json. Raises LRAError naming the one that is missing or damaged."""
    name = "archive.json"
    try:
        about = About.model_validate_json((unpacked / name).read_bytes())
        name = "jobs.json"
        done = [Job(**job) for job in json.loads((unpacked / name).read_bytes())]
        if not done:
            raise ValueError("it has no jobs")
    except OSError:
        raise LRAError(f"{name}: is missing; this is no archive of lra") from None
    except (TypeError, ValueError, RecursionError) as error:
        line = str(error).splitlines()[0]
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            line = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise LRAError(f"{name}: is not as this lra archive writes it ({line})") from None
    return about, done


def record(name: str, entry: Entry | Kept) -> dict[str, Any]:
    """A result in JSON. Raises LRAError naming the file where it is none."""
    try:
        with entry.open() as file:
            return dict(json.load(file))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise LRAError(f"{name}: is no JSON record ({error})") from None


def versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def why_omitted(path: str, with_checkpoints: bool = False, with_data: bool = False) -> str | None:
    if path.startswith("results/data/downloads/"):
        return "the data set's archive, from its publisher"
    if path.startswith("results/data/") and path.endswith(".arrow") and not with_data:
        return "data, remade by its recipe"
    if path.endswith(f"/{WEIGHTS}") and not with_checkpoints:
        return "a checkpoint, remade by training its cell"
    return None


def recorded(done: Iterable[Job], data: Mapping[str, Made]) -> dict[str, str]:
    """SHA-256 of results, by the jobs that read them, and of data by its dataset.json."""
    read = {path: told.removeprefix("sha256:") for job in done
            for path, told in job.input_checksums.items()}  # fmt: skip
    return read | {
        f"results/data/{name}/{split}.arrow": facts.sha256
        for name, made in data.items()
        for split, facts in made.splits.items()
    }


def recipes(done: Iterable[Job], root: Path) -> dict[str, Made]:
    """Of each data set that a job made in `root`."""
    known, found = datasets(root), {}
    for job in done:
        for path in job.output:
            folder, _, file = path.removeprefix("results/data/").rpartition("/")
            if path.startswith("results/data/") and file == "dataset.json":
                if folder not in known:
                    raise LRAError(f"config/datasets.yaml: has no {folder}, which {path} is of")
                splits = record(path, Kept(root / path)).get("splits")
                try:
                    found[folder] = Made(**known[folder].model_dump(), splits=splits)
                except ValidationError:
                    raise LRAError(f"{path}: has not the rows and SHA-256 of splits") from None
    return found


def hardware(files: Mapping[str, Entry | Kept]) -> list[Hardware]:
    """Every device and version of torch that a record names, with the number of its records."""
    counts: dict[tuple, int] = {}
    for name, entry in sorted(files.items()):
        if name.startswith("results/") and name.endswith(".json"):
            told = record(name, entry)
            if "device" in told:
                driver = (told.get("gpu") or {}).get("driver")
                key = (told["device"], told.get("torch_version", ""), driver)
                counts[key] = counts.get(key, 0) + 1
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
