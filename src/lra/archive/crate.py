"""The metadata of a Provenance Run Crate: which jobs ran, on what, with what results.

https://w3id.org/ro/wfrun/provenance/0.5, with the profiles that it builds on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from lra.archive.jobs import Job
from lra.archive.manifest import About
from lra.archive.readme import README
from lra.archive.source import LINK, Entry
from lra.core.unique import unique

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
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
    from rocrate.model.computationalworkflow import ComputationalWorkflow
    from rocrate.model.contextentity import ContextEntity
    from rocrate.model.data_entity import DataEntity
    from rocrate.rocrate import ROCrate

    jobs = sorted(jobs, key=lambda job: job.starttime)
    start, end = jobs[0].starttime, max(job.endtime for job in jobs)
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(CONTEXT)

    def add(identifier: str, kind: str, /, **properties: Any) -> ContextEntity:
        given = {"@type": kind}
        for key, value in properties.items():
            if value not in (None, [], ""):
                given[key] = value[0] if isinstance(value, list) and len(value) == 1 else value
        return crate.add(ContextEntity(crate, identifier, given))

    def add_run(identifier: str, kind: str, started: float, ended: float, /, **properties: Any):
        return add(identifier, kind, startTime=_utc(started), endTime=_utc(ended), **properties)

    licence = add("https://spdx.org/licenses/MIT", "CreativeWork", name="MIT Licence")
    language = add(SNAKEMAKE, "ComputerLanguage", name="Snakemake", identifier=SNAKEMAKE,
                   url="https://snakemake.github.io")  # fmt: skip
    workflow = ComputationalWorkflow(crate, dest_path=WORKFLOW, properties={
        "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
        "name": "Long Range Arena", "programmingLanguage": language, "license": licence,
        "version": about.commit,
    })  # fmt: skip
    parts: dict[str, Any] = {
        name: DataEntity(crate, name, {
            "@type": "File", "contentSize": str(entry.size), "sha256": entry.sha256(),
            "encodingFormat": FORMATS.get(PurePosixPath(name).suffix, "text/plain"),
        })
        for name, entry in files.items() if entry.mode != LINK
    } | {WORKFLOW: workflow}  # fmt: skip
    for name in sorted(parts):
        crate.add(parts[name])
    for path, omitted in about.omitted.items():
        parts[path] = add(f"#omitted/{path}", "CreativeWork", name=path, sha256=omitted.sha256,
                          description="not in this archive: " + omitted.why)  # fmt: skip
    for name, made in about.data.items():
        add(f"#data/{name}", "CreativeWork", name=name, license=made.licence,
            creditText=made.citation)  # fmt: skip

    def entities(paths: list[str]) -> list:
        """Files of the archive by their paths in the workflow's folder, or notes that they are not
        in it."""
        found = []
        for path in paths:
            name = path if path in parts else f"source/{path}"
            if name not in parts:
                name = path
                parts[path] = add(f"#omitted/{path}", "CreativeWork", name=path,
                                  description="not in this archive")  # fmt: skip
            found.append(parts[name])
        return found

    tools, steps = {}, {}
    for number, rule in enumerate(unique(job.rule for job in jobs), 1):
        code = next(job.code for job in jobs if job.rule == rule)
        tools[rule] = add(f"#tool/{rule}", "SoftwareApplication", name=rule, description=code)
        steps[rule] = add(f"#step/{rule}", "HowToStep", name=rule, position=str(number),
                          workExample=tools[rule])  # fmt: skip
    workflow["hasPart"], workflow["step"] = list(tools.values()), list(steps.values())
    controls = []
    for job in jobs:
        name = job.output[0]
        action = add_run(
            f"#job/{name}", "CreateAction", job.starttime, job.endtime, name=job.name,
            instrument=tools[job.rule], description=job.shellcmd, object=entities(job.input),
            result=entities(job.output), actionStatus=DONE,
        )  # fmt: skip
        controls.append(add(f"#control/{name}", "ControlAction", name=f"orchestrate {job.name}",
                            instrument=steps[job.rule], object=action))  # fmt: skip
    outputs = {path for job in jobs for path in job.output}
    inputs = {path for job in jobs for path in job.input}
    run = add_run(
        "#run", "CreateAction", start, end, name=f"run of {about.experiment}",
        description="every job of the experiment", instrument=workflow, actionStatus=DONE,
        object=entities(["experiment.yaml", *sorted(inputs - outputs)]),
        result=entities(sorted(outputs - inputs)),
    )  # fmt: skip
    engine = add("#snakemake", "SoftwareApplication", name="Snakemake",
                 url="https://snakemake.github.io",
                 softwareVersion=about.versions["snakemake"])  # fmt: skip
    add_run("#organize", "OrganizeAction", start, end, name="Snakemake's run", instrument=engine,
            object=controls, result=run)  # fmt: skip

    root = crate.root_dataset
    root["name"] = f"Long Range Arena: experiment {about.experiment}"
    changed = ", changed by source.patch," if about.dirty else ""
    root["description"] = (
        f"The results of the experiment {about.experiment} under the protocol {about.protocol}, "
        f"with the source at commit {about.commit}{changed} and a record of every job."
    )
    root["datePublished"] = _utc(end)
    root["license"] = licence
    root["mainEntity"], root["mentions"] = workflow, run
    root["conformsTo"] = [
        add(url, "CreativeWork", name=name, version=url.rpartition("/")[2])
        for url, name in PROFILES.items()
    ]
    crate.metadata["conformsTo"] = [
        {"@id": "https://w3id.org/ro/crate/1.1"},
        {"@id": "https://w3id.org/workflowhub/workflow-ro-crate/1.0"},
    ]
    parts[README]["about"] = root
    text = json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False)
    return f"{text}\n".encode()


def _utc(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
