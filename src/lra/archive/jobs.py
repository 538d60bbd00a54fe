"""The jobs that led to an experiment's results, as Snakemake recorded them."""

from __future__ import annotations

import json
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
    endtime: Time  # of the last output
    input_checksums: dict[str, str]
    software_stack_hash: str | None

    @model_validator(mode="after")
    def _writes_results(self) -> Job:
        """`lra verify` writes and removes files at these paths."""
        for path in map(PurePosixPath, self.output + self.log):
            if path.parts[:1] != ("results",) or ".." in path.parts:
                raise ValueError(f"{path} is not below results/")
        return self

    @property
    def name(self) -> str:
        return f"{self.rule}: {self.output[0]}"


def behind(targets: Iterable[str], folder: Path) -> list[Job]:
    """The jobs that `targets` depend on, directly or not, sorted by their first output.

    Results of an earlier configuration, which no target depends on, are left out.
    Raises LRAError naming a target of which Snakemake has no record.
    """
    records, found, waiting = _records(folder / METADATA), {}, [*targets]
    for target in waiting:
        if target not in records:
            raise LRAError(f"{target}: Snakemake has no record of it; run snakemake again")
    while waiting:
        path = waiting.pop()
        if path in records and path not in found:  # a file of the source is in no record
            job = _job(records[path])
            found |= dict.fromkeys(job.output, job)
            waiting += job.input
    return [job for path, job in sorted(found.items()) if path == job.output[0]]


def write_records(jobs: Iterable[Job], folder: Path) -> None:
    """Write the records of Snakemake in `folder`."""
    for number, job in enumerate(jobs):  # Snakemake's report tells them apart by job_hash
        record = job.model_dump(exclude={"output"}) | {
            "record_format_version": FORMAT, "job_hash": number, "conda_env": None,
            "container_img_url": None,
        }  # fmt: skip
        for path in job.output:
            name = urlsafe_b64encode(path.encode()).decode()
            *folders, last = [name[i : i + LONGEST] for i in range(0, len(name), LONGEST)]
            file = Path(folder, METADATA, *[f"@{part}" for part in folders], last)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record), encoding="utf-8")
    (folder / ".snakemake/incomplete").mkdir(parents=True, exist_ok=True)


def _records(folder: Path) -> dict[str, dict[str, dict]]:
    """Of each output, Snakemake's records of all outputs of its job, which it writes one by one."""
    found, jobs = {}, {}
    for file in folder.rglob("*"):
        if file.is_file():
            name = "".join(part.removeprefix("@") for part in file.relative_to(folder).parts)
            record = json.loads(file.read_text(encoding="utf-8") or "{}")
            if record.get("rule"):
                path = urlsafe_b64decode(name).decode()
                found[path] = jobs.setdefault((record["rule"], *record["log"]), {})
                found[path][path] = record
    return found


def _job(records: dict[str, dict]) -> Job:
    """From the record of each output."""
    outputs = sorted(records)
    record = records[outputs[0]]
    return Job.model_validate(record | {
        "output": outputs, "endtime": max(each["endtime"] for each in records.values()),
        "input_checksums": dict(sorted((record["input_checksums"] or {}).items())),
        "params": sorted(record["params"] or []),
    })  # fmt: skip
