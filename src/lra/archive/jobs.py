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
LONGEST = 254  # of a file's name, less the @ that Snakemake puts before all but the last part
FORMAT = 6  # of snakemake 9's records
CHECKSUM = "sha256:"  # before each in these records


Time = Annotated[float, Field(ge=0, lt=1e11)]


class Job(BaseModel):
    """One job: what it read and wrote, its command, and when it ran (seconds since 1970)."""

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
    def _is_of_results(self) -> Job:
        """Whoever checks an archive writes, and removes, at these paths."""
        for path in map(PurePosixPath, self.output + self.log):
            if path.parts[:1] != ("results",) or ".." in path.parts:
                raise ValueError(f"{path} is not below results/")
        if {*self.output} != {*self.endtimes}:
            raise ValueError(f"{self.output[0]} has not one end for each output")
        return self

    @property
    def name(self) -> str:
        return f"{self.rule}: {self.output[0]}"

    @property
    def endtime(self) -> float:
        return max(self.endtimes.values())

    @property
    def benchmarks(self) -> list[str]:
        """Beside the logs, by the convention of this workflow's rules."""
        names = [log.replace("/logs/", "/benchmarks/") for log in self.log]
        return [name.removesuffix(".log") + ".tsv" for name in names]


def behind(targets: Iterable[str], folder: Path) -> list[Job]:
    """The jobs that `targets` come from, directly or through others, sorted by their first output.

    What an earlier configuration left in the results is behind no target, and so is not there.
    Raises LRAError naming a target of which Snakemake has no record.
    """
    records = _records(folder / METADATA)
    found: dict[str, dict] = {}
    waiting = list(targets)
    for target in waiting:
        if target not in records:
            raise LRAError(f"{target}: Snakemake has no record of it; run snakemake again")
    while waiting:
        path = waiting.pop()
        if path in records and path not in found:
            found[path] = records[path]
            waiting += records[path]["input"] or []
            waiting += _siblings(records[path], records)
    return _grouped(found)


def write_records(jobs: Iterable[Job], folder: Path) -> None:
    """Put the records where Snakemake in `folder` looks for them."""
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
    """By output."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
            record = json.loads(file.read_text() or "{}")
            if record.get("rule"):
                found[urlsafe_b64decode(name).decode()] = record
    return found


def _siblings(record: dict, records: dict[str, dict]) -> list[str]:
    """The outputs of the same job, which Snakemake records one by one: they share its log."""
    return [
        path
        for path, other in records.items()
        if other["rule"] == record["rule"] and other["log"] == record["log"]
    ]


def _grouped(records: dict[str, dict]) -> list[Job]:
    groups: dict[tuple, dict[str, dict]] = {}
    for path, record in sorted(records.items()):
        groups.setdefault((record["rule"], *record["log"]), {})[path] = record
    jobs = []
    for outputs in groups.values():
        record = next(iter(outputs.values()))
        endtimes = {path: each["endtime"] for path, each in outputs.items()}
        sums = record["input_checksums"] or {}
        shared = {key: record[key] for key in Job.model_fields if key in record}
        jobs.append(Job(**shared | {
            "output": list(outputs), "endtimes": endtimes,
            "input_checksums": dict(sorted(sums.items())), "params": sorted(record["params"] or []),
        }))  # fmt: skip
    return jobs
