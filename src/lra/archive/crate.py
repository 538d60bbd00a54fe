"""The metadata of a Provenance Run Crate: which jobs ran, on what, with what results.

https://w3id.org/ro/wfrun/provenance/0.5, with the profiles that it builds on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from rocrate.model.computationalworkflow import ComputationalWorkflow
from rocrate.model.contextentity import ContextEntity
from rocrate.model.data_entity import DataEntity
from rocrate.rocrate import ROCrate

from lra.archive.jobs import Job
from lra.archive.manifest import About
from lra.archive.readme import README
from lra.archive.source import LINK, Entry

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
SPECIFICATIONS = ("https://w3id.org/ro/crate/1.1",
                  "https://w3id.org/workflowhub/workflow-ro-crate/1.0")  # fmt: skip
CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
SNAKEMAKE = "https://w3id.org/workflowhub/workflow-ro-crate#snakemake"
DONE = "http://schema.org/CompletedActionStatus"
WORKFLOW = "source/Snakefile"
FORMATS = {".json": "application/json", ".md": "text/markdown", ".csv": "text/csv",
           ".html": "text/html", ".svg": "image/svg+xml", ".png": "image/png",
           ".pdf": "application/pdf", ".parquet": "application/vnd.apache.parquet",
           ".yaml": "application/yaml", ".tex": "application/x-tex",
           ".tsv": "text/tab-separated-values",
           ".arrow": "application/vnd.apache.arrow.file"}  # fmt: skip


def metadata(about: About, jobs: list[Job], files: Mapping[str, Entry]) -> bytes:
    """ro-crate-metadata.json: an action for each job, a tool and a step for each rule.

    `files` are the others of the archive, by name.
    """
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(CONTEXT)
    licence = _add(crate, "https://spdx.org/licenses/MIT", "CreativeWork", name="MIT Licence")
    language = _add(crate, SNAKEMAKE, "ComputerLanguage", name="Snakemake", identifier=SNAKEMAKE,
                    url="https://snakemake.github.io")  # fmt: skip
    workflow = ComputationalWorkflow(crate, dest_path=WORKFLOW, properties={
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Long Range Arena", "programmingLanguage": language, "license": licence,
        "version": about.commit,
    })  # fmt: skip
    parts = {WORKFLOW: crate.add(workflow)}
    for name, entry in sorted(files.items()):
        if entry.mode != LINK and name != WORKFLOW:
            parts[name] = crate.add(DataEntity(crate, name, {
                "@type": "File", "contentSize": str(entry.size), "sha256": entry.sha256(),
                "encodingFormat": FORMATS.get(PurePosixPath(name).suffix, "text/plain"),
            }))  # fmt: skip
    for name, made in about.data.items():
        _add(crate, f"#data/{name}", "CreativeWork", name=name, license=made.licence,
             creditText=made.citation)  # fmt: skip
    run, end = _add_run(crate, about, jobs, workflow, parts)

    root = crate.root_dataset
    root["name"] = f"Long Range Arena: experiment {about.experiment}"
    changed = ", changed by source.patch," if about.dirty else ""
    root["description"] = (
        f"The results of the experiment {about.experiment} under the protocol {about.protocol}, "
        f"with the source at commit {about.commit}{changed} and a record of every job."
    )
    root["datePublished"], root["license"] = end, licence
    root["mainEntity"], root["mentions"] = workflow, run
    root["conformsTo"] = [
        _add(crate, url, "CreativeWork", name=name, version=url.rpartition("/")[2])
        for url, name in PROFILES.items()
    ]
    crate.metadata["conformsTo"] = [{"@id": url} for url in SPECIFICATIONS]
    parts[README]["about"] = root
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def _add_run(
    crate: ROCrate, about: About, jobs: list[Job], workflow: ContextEntity, parts: dict[str, Any]
) -> tuple[ContextEntity, str]:
    """Add the jobs and the run of all; the run and its end. `parts`: files of the archive."""

    def part(path: str) -> ContextEntity:
        """A file by its path in the workflow's folder, or a note that it is not in the archive."""
        for name in (path, f"source/{path}"):
            if name in parts:
                return parts[name]
        omitted = about.omitted.get(path)
        parts[path] = _add(
            crate, f"#omitted/{path}", "CreativeWork", name=path,
            description="not in this archive" + (f": {omitted.why}" if omitted else ""),
            sha256=omitted and omitted.sha256,
        )  # fmt: skip
        return parts[path]

    jobs = sorted(jobs, key=lambda job: job.starttime)
    tools, steps, controls = {}, {}, []
    for job in jobs:
        if job.rule not in tools:
            tools[job.rule] = _add(crate, f"#tool/{job.rule}", "SoftwareApplication",
                                   name=job.rule, description=job.code)  # fmt: skip
            steps[job.rule] = _add(crate, f"#step/{job.rule}", "HowToStep", name=job.rule,
                                   position=str(len(tools)),
                                   workExample=tools[job.rule])  # fmt: skip
        action = _add(
            crate, f"#job/{job.output[0]}", "CreateAction", name=job.name,
            instrument=tools[job.rule], description=job.shellcmd, actionStatus=DONE,
            startTime=_utc(job.starttime), endTime=_utc(job.endtime),
            object=[part(path) for path in job.input],
            result=[part(path) for path in job.output],
        )  # fmt: skip
        controls.append(
            _add(crate, f"#control/{job.output[0]}", "ControlAction", object=action,
                 name=f"orchestrate {job.name}", instrument=steps[job.rule])
        )  # fmt: skip
    workflow["hasPart"], workflow["step"] = [*tools.values()], [*steps.values()]
    outputs = {path for job in jobs for path in job.output}
    inputs = {path for job in jobs for path in job.input}
    times = {"startTime": _utc(jobs[0].starttime),
             "endTime": _utc(max(job.endtime for job in jobs))}  # fmt: skip
    run = _add(
        crate, "#run", "CreateAction", name=f"run of {about.experiment}",
        description="every job of the experiment", instrument=workflow, actionStatus=DONE,
        object=[part(path) for path in ("experiment.yaml", *sorted(inputs - outputs))],
        result=[part(path) for path in sorted(outputs - inputs)], **times,
    )  # fmt: skip
    engine = _add(crate, "#snakemake", "SoftwareApplication", name="Snakemake",
                  url="https://snakemake.github.io",
                  softwareVersion=about.versions["snakemake"])  # fmt: skip
    _add(crate, "#organize", "OrganizeAction", name="Snakemake's run", instrument=engine,
         object=controls, result=run, **times)  # fmt: skip
    return run, times["endTime"]


def _add(crate: ROCrate, identifier: str, kind: str, /, **properties: Any) -> ContextEntity:
    """Add an entity, without empty properties and without lists of one value."""
    given = {"@type": kind}
    for key, value in properties.items():
        if value not in (None, [], ""):
            given[key] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return crate.add(ContextEntity(crate, identifier, given))


def _utc(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
