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
from lra.core.errors import LRAError, one_of
from lra.core.files import sha256
from lra.core.schema import Strict, checked
from lra.data.manifest import MANIFEST
from lra.data.recipe import Dataset
from lra.results import layout

NAME = "archive.json"
JOBS = "jobs.json"
EXPERIMENT = "experiment.yaml"
# Outputs that an archive need not have, and why.
OPTIONAL = {
    f"{layout.DOWNLOADS}/*": "a download, from the publisher of the data set",
    f"{layout.DATA}/*.arrow": "data, remade by its recipe",
    f"*/{layout.CHECKPOINT_FILE}": "a checkpoint, remade by training its cell",
}
# Libraries that decide the bytes of tables and figures; records have their own version of torch.
LIBRARIES = ("great-tables", "matplotlib", "numpy", "pandas", "pyarrow", "scipy", "seaborn",
             "snakemake")  # fmt: skip


class Split(Strict):
    rows: int
    sha256: str


class Made(Dataset):
    """A data set: its entry in config/datasets.yaml, and the splits that were made"""

    splits: dict[str, Split]


class About(Strict):
    """archive.json"""

    format: Literal[2]
    experiment: str
    protocol: str
    commit: str
    changed: list[str]  # files of the source that differ from the commit, added or removed ones too
    redacted: bool  # private text in these was replaced
    versions: dict[str, str]  # of the libraries that wrote the archive
    targets: list[str] = Field(min_length=1)  # that no job reads
    data: dict[str, Made]
    hardware: dict[str, int]  # device, torch and driver: how many records name them
    omitted: dict[str, str | None]  # SHA-256 of outputs that are not in the archive, where known
    absent: list[str]  # logs that were not there

    @property
    def left_out_splits(self) -> list[str]:
        """Paths of the data that is not in the archive."""
        return [path for path in self.omitted if path.endswith(".arrow")]

    @property
    def reasons(self) -> dict[str, int]:
        """Why outputs are not in the archive, with the number of these outputs."""
        return dict(sorted(Counter(map(why_omitted, self.omitted)).items()))


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
    SHA-256 of outputs of which no file and no record tells it; `origin` has the fields that do not
    follow from them: commit, changed, redacted and versions.
    Raises LRAError naming an output that an archive must have, or data that was changed.
    """
    # Snakemake wants every output of the job that makes a target: a data set whose splits are not
    # in the archive would be made again. So a target that some job reads is left to that job.
    inputs = {path for job in jobs for path in job.input}
    logs = {path for job in jobs for path in job.log}
    left_out = sorted({path for job in jobs for path in job.output} - {*files})
    for path in left_out:
        if not why_omitted(path):
            raise LRAError(f"{path}: no such file; run snakemake again")
    data = _data_sets(jobs, root)
    sums = {f"{layout.DATA}/{name}/{split}.arrow": made.sha256
            for name, of in data.items() for split, made in of.splits.items()}  # fmt: skip
    for path in sorted(sums.keys() & files.keys()):
        if files[path].sha256() != sums[path]:
            raise LRAError(f"{path}: its SHA-256 is not that of dataset.json")
    read = {path: checksum.removeprefix(CHECKSUM) for job in jobs
            for path, checksum in job.input_checksums.items()}  # fmt: skip
    known = {**known, **read, **sums}
    omitted = {path: sha256(root / path) if (root / path).is_file() else known.get(path)
               for path in left_out}  # fmt: skip
    return About(
        format=2, experiment=experiment.experiment, protocol=experiment.protocol, data=data,
        targets=sorted({*targets} - inputs), hardware=_hardware(files), omitted=omitted,
        absent=sorted(logs - {*files}), **origin,
    )  # fmt: skip


def read(unpacked: Path) -> tuple[About, list[Job]]:
    """archive.json and jobs.json. Raises LRAError naming the one that is damaged."""
    about = parsed(NAME, Entry(unpacked / NAME))
    jobs = parsed(JOBS, Entry(unpacked / JOBS), list)
    return checked(About, about, NAME), [checked(Job, job, JOBS) for job in jobs]


def parsed(name: str, entry: Entry, kind: type = dict) -> Any:
    """A JSON file. Raises LRAError naming it where it is none, or not of this kind."""
    try:
        found = json.loads(entry.read())
    except (ValueError, RecursionError) as error:
        raise LRAError(f"{name}: is not JSON ({error})") from None
    if not isinstance(found, kind) or found == []:
        raise LRAError(f"{name}: is not what an archive has there")
    return found


def versions() -> dict[str, str]:
    """Of Python and the libraries here."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def why_omitted(path: str) -> str | None:
    """Why an archive need not have an output; None where it must."""
    return next((why for pattern, why in OPTIONAL.items() if fnmatchcase(path, pattern)), None)


def _data_sets(jobs: Iterable[Job], root: Path) -> dict[str, Made]:
    """Of every dataset.json that a job wrote."""
    known, found = datasets(root), {}
    for path in (path for job in jobs for path in job.output):
        name = PurePosixPath(path).parent.name
        if path == f"{layout.DATA}/{name}/{MANIFEST}":
            recipe = known[one_of("config/datasets.yaml", name, known)]
            splits = parsed(path, Entry(root / path)).get("splits")
            found[name] = checked(Made, recipe.model_dump() | {"splits": splits}, path)
    return found


def _hardware(files: Mapping[str, Entry]) -> dict[str, int]:
    """Every device, torch and driver in a record, with the number of its records."""
    counts = Counter()
    for name, entry in files.items():
        if name.startswith("results/") and name.endswith(".json"):
            made = parsed(name, entry)
            if "device" in made:
                driver = (made.get("gpu") or {}).get("driver")
                text = f"{made['device']}, torch {made.get('torch_version')}"
                counts[text + (f", driver {driver}" if driver else "")] += 1
    return counts
