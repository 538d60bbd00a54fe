"""The jobs that led to an experiment's results, as Snakemake recorded them."""

from __future__ import annotations

import hashlib
import json
import stat
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from lra.core.errors import LRAError

METADATA = Path(".snakemake/metadata")
LONGEST = 254  # bytes of a part of a record's name; Snakemake puts @ before all but the last
FORMAT = 6  # of the records of Snakemake 9
CHECKSUM = "sha256:"  # before each checksum in these records

Time = Annotated[float, Field(ge=0, lt=1e11)]


class Job(BaseModel):
    """One job: inputs, outputs, command, and times in seconds since 1970"""

    rule: str
    input: list[str]
    output: list[str] = Field(min_length=1)
    log: list[str]
    params: list[str]
    code: str | None  # the rule's shell line, before its wildcards are filled in
    shellcmd: str | None
    starttime: Time
    endtimes: dict[str, Time]  # of each output
    input_checksums: dict[str, str]
    software_stack_hash: str | None

    @model_validator(mode="after")
    def _writes_results(self) -> Job:
        """`lra verify` writes and removes files at these paths."""
        for path in map(PurePosixPath, self.output + self.log):
            if path.parts[:1] != ("results",) or ".." in path.parts:
                raise ValueError(f"{path} is not below results/")
        if {*self.output} != {*self.endtimes}:
            raise ValueError(f"{self.output[0]}: endtimes are not of the outputs")
        return self

    @property
    def name(self) -> str:
        return f"{self.rule}: {self.output[0]}"

    @property
    def endtime(self) -> float:
        return max(self.endtimes.values())

    @property
    def benchmarks(self) -> list[str]:
        """Beside the logs, as `lra.results.layout.benchmark` has them."""
        names = [log.replace("/logs/", "/benchmarks/") for log in self.log]
        return [name.removesuffix(".log") + ".tsv" for name in names]


def behind(targets: Iterable[str], folder: Path) -> list[Job]:
    """The jobs that `targets` depend on, directly or not, sorted by their first output.

    Results of an earlier configuration, which no target depends on, are left out.
    Raises LRAError naming a target of which Snakemake has no record.
    """
    records = _records(folder / METADATA)
    outputs: dict[tuple, list[str]] = {}
    for path, record in sorted(records.items()):
        outputs.setdefault(_key(record), []).append(path)
    found: dict[tuple, Job] = {}
    waiting = list(targets)
    for target in waiting:
        if target not in records:
            raise LRAError(f"{target}: Snakemake has no record of it; run snakemake again")
    while waiting:
        path = waiting.pop()
        if path not in records:  # a file of the source
            continue
        key = _key(records[path])
        if key not in found:
            found[key] = _job({output: records[output] for output in outputs[key]})
            waiting += found[key].input
    return sorted(found.values(), key=lambda job: job.output[0])


def write_records(jobs: Iterable[Job], folder: Path) -> None:
    """Write the records of Snakemake in `folder`."""
    for job in jobs:
        number = int(hashlib.sha256(job.output[0].encode()).hexdigest()[:12], 16)
        for path in job.output:
            record = job.model_dump(exclude={"output", "endtimes"}) | {
                "record_format_version": FORMAT, "conda_env": None, "container_img_url": None,
                "job_hash": number, "endtime": job.endtimes[path], "incomplete": False,
                "external_jobid": None,
            }  # fmt: skip
            file = folder / METADATA / _record_name(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record))
            file.chmod(file.stat().st_mode | stat.S_IWGRP)
    (folder / ".snakemake/incomplete").mkdir(parents=True, exist_ok=True)


def _record_name(path: str) -> Path:
    name = urlsafe_b64encode(path.encode()).decode()
    parts = [name[i : i + LONGEST] for i in range(0, len(name), LONGEST)]
    return Path(*[f"@{part}" for part in parts[:-1]], parts[-1])


def _records(folder: Path) -> dict[str, dict]:
    """Snakemake's records by output."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
            record = json.loads(file.read_text() or "{}")
            if record.get("rule"):
                found[urlsafe_b64decode(name).decode()] = record
    return found


def _key(record: dict) -> tuple:
    """Equal for the outputs of one job, which Snakemake records one by one."""
    return (record["rule"], *record["log"])


def _job(records: dict[str, dict]) -> Job:
    """From the record of each output."""
    record = next(iter(records.values()))
    checksums = dict(sorted((record["input_checksums"] or {}).items()))
    return Job.model_validate(record | {
        "output": list(records), "input_checksums": checksums,
        "endtimes": {path: each["endtime"] for path, each in records.items()},
        "params": sorted(record["params"] or []),
    })  # fmt: skip
