"""The files of an archive that follow from its others.

README.md is for people. For machines there is the metadata of a Provenance Run Crate: which jobs
ran, on what, with what results (https://w3id.org/ro/wfrun/provenance/0.5). What is the same in
every archive stands in readme.md and crate.json beside this file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

from lra.archive import manifest
from lra.archive.jobs import Job
from lra.archive.manifest import About
from lra.archive.source import Entry

README, METADATA = "README.md", "ro-crate-metadata.json"
NAMES = (manifest.NAME, manifest.JOBS, README, METADATA)


def describe(about: About, jobs: list[Job], files: Mapping[str, Entry]) -> dict[str, Entry]:
    """The four files, by name. `files` are the others."""
    made = {
        manifest.NAME: _json(about.model_dump(mode="json")),
        manifest.JOBS: _json([job.model_dump(mode="json") for job in jobs]),
        README: _readme(about, files.get(f"results/{about.experiment}/tables/accuracy.md")),
    }
    return made | {METADATA: _json(_metadata(about, jobs, {**files, **made}))}


def _json(value: object) -> Entry:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return Entry(f"{text}\n".encode())


def _readme(about: About, table: Entry | None) -> Entry:
    changed = "none"
    if about.changed:
        changed = f"{len(about.changed)}; `archive.json` names the files, `source/` has them"
    if about.redacted:
        changed += ". Private text in these was replaced: those lines are not exactly what ran"
    data = [f"- `{name}`: {made.licence}. {made.citation}" for name, made in about.data.items()]
    template = Template(Path(__file__).with_name("readme.md").read_text(encoding="utf-8"))
    text = template.substitute(
        about.model_dump(include={"experiment", "protocol", "commit"}),
        changed=changed,
        table=table.read().decode("utf-8", "surrogateescape") if table else "No table of accuracy.",
        omitted="; ".join(about.reasons) or "nothing",
        data="\n".join(data),
    )
    return Entry(text.encode("utf-8", "surrogateescape"))


def _metadata(about: About, jobs: list[Job], files: Mapping[str, Entry]) -> dict[str, Any]:
    """An action for each job, a tool and a step for each rule. `files`: all others."""
    crate = json.loads(Path(__file__).with_name("crate.json").read_text(encoding="utf-8"))
    graph = {entity["@id"]: entity for entity in crate["@graph"]}

    def add(name: str, kind: str, /, **properties: Any) -> dict[str, str]:
        """Add an entity, without empty properties, or add to it; a reference to it."""
        there = {key: value for key, value in properties.items() if value not in (None, [], "")}
        graph[name] = {"@id": name, "@type": kind} | graph.get(name, {}) | there
        return {"@id": name}

    parts = [  # of a link its target is described, as in SHA256SUMS
        add(name, "File", contentSize=str(entry.size), sha256=entry.sha256())
        for name, entry in sorted(files.items())
    ]

    def part(path: str) -> dict[str, str]:
        """A file by its path in the workflow's folder, or a note that it is not in the archive."""
        name = path if path in files else f"source/{path}"
        if name in files:
            return {"@id": name}
        return add(f"#omitted/{path}", "CreativeWork", name=path, sha256=about.omitted.get(path),
                   description="not in this archive")  # fmt: skip

    jobs = sorted(jobs, key=lambda job: job.starttime)
    tools, steps, controls = {}, {}, []
    for job in jobs:
        rule, first = job.rule, job.output[0]
        if rule not in tools:
            tools[rule] = add(f"#tool/{rule}", "SoftwareApplication", name=rule,
                              description=job.code)  # fmt: skip
            steps[rule] = add(f"#step/{rule}", "HowToStep", name=rule, position=str(len(tools)),
                              workExample=tools[rule])  # fmt: skip
        action = add(
            f"#job/{first}", "CreateAction", name=job.name, instrument=tools[rule],
            description=job.shellcmd, actionStatus="http://schema.org/CompletedActionStatus",
            startTime=_utc(job.starttime), endTime=_utc(job.endtime),
            object=[*map(part, job.input)], result=[*map(part, job.output)],
        )  # fmt: skip
        controls.append(add(f"#control/{first}", "ControlAction", name=f"orchestrate {job.name}",
                            instrument=steps[rule], object=action))  # fmt: skip
    outputs = {path for job in jobs for path in job.output}
    inputs = {path for job in jobs for path in job.input}
    times = {"startTime": _utc(jobs[0].starttime),
             "endTime": _utc(max(job.endtime for job in jobs))}  # fmt: skip
    graph["#run"] |= times | {
        "object": [*map(part, [manifest.EXPERIMENT, *sorted(inputs - outputs)])],
        "result": [*map(part, sorted(outputs - inputs))],
    }
    graph["#organize"] |= times | {"object": controls}
    graph["#snakemake"]["softwareVersion"] = about.versions["snakemake"]
    graph["source/Snakefile"] |= {
        "version": about.commit, "hasPart": [*tools.values()], "step": [*steps.values()],
    }  # fmt: skip
    graph["./"] |= {
        "name": f"Long Range Arena: experiment {about.experiment}, protocol {about.protocol}",
        "datePublished": times["endTime"], "hasPart": parts,
    }  # fmt: skip
    return crate | {"@graph": [graph[name] for name in sorted(graph)]}


def _utc(seconds: float) -> str:
    """Seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
