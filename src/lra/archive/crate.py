"""The metadata that makes the zip a Provenance Run Crate: what ran, on what, with what result.

https://w3id.org/ro/wfrun/provenance/0.5, with the profiles that it builds on.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from lra.archive import zip_file
from lra.archive.jobs import Job
from lra.archive.manifest import About
from lra.archive.source import LINK, Entry
from lra.archive.zip_file import Kept

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
WORKFLOW = "source/Snakefile"
MEASURES = {"s": "s", "max_rss": "MB", "cpu_time": "s"}  # of Snakemake's benchmarks, with units
UNITS = {"s": "http://qudt.org/vocab/unit/SEC", "MB": "http://qudt.org/vocab/unit/MegaBYTE"}
FORMATS = {".json": "application/json", ".md": "text/markdown", ".csv": "text/csv",
           ".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png",
           ".pdf": "application/pdf", ".parquet": "application/vnd.apache.parquet",
           ".yaml": "application/yaml", ".tex": "application/x-tex",
           ".tsv": "text/tab-separated-values",
           ".arrow": "application/vnd.apache.arrow.file"}  # fmt: skip


def iso(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def metadata(about: About, jobs: list[Job], files: Mapping[str, Entry | Kept]) -> bytes:
    """ro-crate-metadata.json: one action a job, one tool and step a rule. files: what else the
    archive holds, by name."""
    from rocrate.model.computationalworkflow import ComputationalWorkflow
    from rocrate.model.contextentity import ContextEntity
    from rocrate.model.data_entity import DataEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(CONTEXT)

    def note(name_of: str, kind: str | list[str], **properties: Any):
        given = {key: value for key, value in properties.items() if value not in (None, [], "")}
        for key, value in given.items():
            if isinstance(value, list) and len(value) == 1:
                given[key] = value[0]
        return crate.add(ContextEntity(crate, name_of, {"@type": kind} | given))

    end = max(job.endtime for job in jobs)
    mit = note("https://spdx.org/licenses/MIT", "CreativeWork", name="MIT Licence")
    root = crate.root_dataset
    root["name"] = f"Long Range Arena: experiment {about.experiment}"
    root["description"] = (
        f"The results of the experiment {about.experiment} under the protocol "
        f"{about.protocol}, with the source at commit {about.commit}"
        + (", changed by source.patch," if about.dirty else "")
        + " and a record of every job."
    )
    root["datePublished"] = iso(end)
    root["license"] = mit
    root["conformsTo"] = [
        note(url, "CreativeWork", name=name, version=url.rpartition("/")[2])
        for url, name in PROFILES.items()
    ]
    crate.metadata["conformsTo"] = [
        {"@id": "https://w3id.org/ro/crate/1.1"},
        {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
    ]

    parts: dict[str, Any] = {}
    for name, entry in files.items():
        if entry.mode != LINK:
            own = {"@type": "File", "contentSize": str(entry.size), "sha256": zip_file.sha256(entry),
                   "encodingFormat": _format(name)}  # fmt: skip
            parts[name] = DataEntity(crate, name, own)
    language = note(
        "https://w3id.org/workflowhub/workflow-ro-crate#snakemake", "ComputerLanguage",
        name="Snakemake", url="https://snakemake.github.io",
        identifier="https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
    )  # fmt: skip
    workflow = ComputationalWorkflow(crate, dest_path=WORKFLOW, properties={
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Long Range Arena", "programmingLanguage": language, "license": mit,
        "version": about.commit,
    })  # fmt: skip
    parts[WORKFLOW] = workflow
    for name in sorted(parts):
        crate.add(parts[name])
    root["mainEntity"] = workflow
    for path, facts in about.omitted.items():
        parts[path] = note(
            f"#omitted/{path}", "CreativeWork", name=path, sha256=facts.sha256,
            description="not in this archive: " + facts.why,
        )  # fmt: skip
    for name, data in about.data.items():
        note(f"#data/{name}", "CreativeWork", name=name, license=data.licence,
             creditText=data.citation)  # fmt: skip

    engine = note(
        "#snakemake", "SoftwareApplication", name="Snakemake", url="https://snakemake.github.io",
        softwareVersion=about.versions["snakemake"],
    )  # fmt: skip
    tools, steps = {}, {}
    for number, rule in enumerate(dict.fromkeys(job.rule for job in sorted(jobs, key=_start)), 1):
        command = next(job.code for job in jobs if job.rule == rule)
        tools[rule] = note(f"#tool/{rule}", "SoftwareApplication", name=rule, description=command)
        steps[rule] = note(f"#step/{rule}", "HowToStep", name=rule, position=str(number),
                           workExample=tools[rule])  # fmt: skip
    workflow["hasPart"], workflow["step"] = list(tools.values()), list(steps.values())

    controls = []
    for job in sorted(jobs, key=_start):
        action = note(
            f"#job/{job.output[0]}", "CreateAction", name=job.name, instrument=tools[job.rule],
            description=job.shellcmd, startTime=iso(job.starttime), endTime=iso(job.endtime),
            object=[_entity(path, parts, note) for path in job.input],
            result=[_entity(path, parts, note) for path in job.output],
            actionStatus="http://schema.org/CompletedActionStatus",
            resourceUsage=[
                note(f"#usage/{key}/{job.output[0]}", "PropertyValue", name=key, value=value,
                     unitText=MEASURES[key], unitCode=UNITS[MEASURES[key]],
                     propertyID=f"https://snakemake.readthedocs.io/#benchmark-{key}")
                for key, value in _benchmark(job, files).items()
            ],
        )  # fmt: skip
        controls.append(note(f"#control/{job.output[0]}", "ControlAction",
                             name=f"orchestrate {job.name}", instrument=steps[job.rule],
                             object=action))  # fmt: skip
    made = {path for job in jobs for path in job.output}
    read = {path for job in jobs for path in job.input}
    run = note(
        "#run", "CreateAction", name=f"run of {about.experiment}", instrument=workflow,
        description="every job of the experiment", actionStatus="http://schema.org/CompletedActionStatus",
        startTime=iso(min(map(_start, jobs))), endTime=iso(end),
        object=[parts["experiment.yaml"]]
        + [_entity(path, parts, note) for path in sorted(read - made)],
        result=[_entity(path, parts, note) for path in sorted(made - read)],
    )  # fmt: skip
    note("#organize", "OrganizeAction", name="Snakemake's run", instrument=engine, object=controls,
         result=run, startTime=iso(min(map(_start, jobs))), endTime=iso(end))  # fmt: skip
    root["mentions"] = run
    parts["README.md"]["about"] = root
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def _start(job: Job) -> float:
    return job.starttime


def _format(name: str) -> str:
    return FORMATS.get(PurePosixPath(name).suffix, "text/plain")


def _entity(path: str, parts: dict[str, Any], note) -> Any:
    """A file of the zip by its path in the workflow's folder, or a note that it is not there."""
    for name in (path, f"source/{path}"):
        if name in parts:
            return parts[name]
    parts[path] = note(f"#omitted/{path}", "CreativeWork", name=path,
                       description="not in this archive")  # fmt: skip
    return parts[path]


def _benchmark(job: Job, files: Mapping[str, Entry | Kept]) -> dict[str, str]:
    for name in job.benchmarks:
        if name in files:
            with files[name].open() as file:
                rows = list(csv.DictReader(io.TextIOWrapper(file), delimiter="\t"))
            if rows:
                return {k: v for k, v in rows[-1].items() if k in MEASURES and v not in ("-", "")}
    return {}
