"""Gather an experiment and write its archive."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from lra.archive import crate, jobs, manifest, source, zip_file
from lra.archive.jobs import Job
from lra.archive.manifest import About, Made, Omitted
from lra.archive.readme import NAME, readme
from lra.archive.redact import LOG, Private
from lra.archive.source import Entry
from lra.archive.zip_file import Kept
from lra.config.schema import Experiment
from lra.core.errors import LRAError

WRITTEN = {".json", ".yaml", LOG, ".tsv", ".csv", ".md", ".tex", ".html", ".svg", ".txt"}
FEW = 10  # names in one line


def archive(
    experiment: Experiment,
    targets: Iterable[str],
    root: Path,
    out: Path,
    with_checkpoints: bool = False,
    with_data: bool = False,
    private: Private | None = None,
) -> list[str]:
    """Write the archive of what `targets` come from, which lie in the checkout `root`, to `out`.

    Returns lines about what a reader should know: changes that are in no commit, what was left out.
    Raises LRAError naming the file where something is missing, or holds a secret or private name.
    """
    private = private or Private.here(root)
    done = jobs.behind(targets, root)
    if not done:
        raise LRAError(f"{experiment.experiment}: no results to archive; run snakemake first")
    origin = source.read(root)
    entries: dict[str, Entry | Kept] = {
        f"source/{name}": entry for name, entry in origin.files.items()
    }
    changes = origin.patch.decode("utf-8", "surrogateescape")
    patch = private.scrubbed_patch(changes)
    if patch:
        entries["source.patch"] = Entry(patch.encode("utf-8", "surrogateescape"))
    restored = _restored(entries)
    data = manifest.recipes(done, root)
    omitted = _omitted(done, data, root, with_checkpoints, with_data)
    results = _results(done, omitted, root)
    entries |= {name: _scrubbed(name, entry, private) for name, entry in results.items()}

    whole = experiment.model_copy(update={"data_mirror": None}).model_dump(mode="json")
    entries["experiment.yaml"] = _text(yaml.safe_dump(whole, sort_keys=False), private)
    about = About(
        format=manifest.FORMAT,
        experiment=experiment.experiment,
        protocol=experiment.protocol,
        commit=origin.commit,
        commit_time=origin.time,
        dirty=bool(patch),
        scrubbed=patch != changes,
        tree=source.tree_hash(restored),
        versions=manifest.versions(),
        targets=_last(targets, done),
        data=data,
        hardware=manifest.hardware(entries),
        omitted=omitted,
        absent=sorted({path for job in done for path in job.log + job.benchmarks} - {*results}),
    )
    entries["archive.json"] = _json(about.model_dump(mode="json"), private)
    then, now = {**results, **origin.now}, {**entries, **restored}
    entries["jobs.json"] = _json([_as_kept(job, then, now).model_dump() for job in done], private)
    # README and metadata say what is said in these two
    about = About.model_validate_json(_content(entries["archive.json"]))
    done = [Job(**job) for job in json.loads(_content(entries["jobs.json"]))]
    entries[NAME] = Entry(readme(about, entries))
    entries[crate.METADATA] = Entry(crate.metadata(about, done, entries))
    bad = [line for name, entry in entries.items() for line in _private(name, entry, private)]
    bad += [line for name, entry in restored.items() if entry != origin.files.get(name)
            for line in private.found(f"source/{name}", entry.content)]  # fmt: skip
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise LRAError(f"{bad[0]}{more}; nothing was archived")
    entries[zip_file.SUMS] = Entry(zip_file.sums(entries))
    zip_file.write(out, entries)
    return _notes(about, sorted({*origin.now} - {*origin.files}))


def _restored(entries: Mapping[str, Entry | Kept]) -> dict[str, Entry]:
    """The source as the archive gives it back. Raises LRAError where it does not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "tree")
        zip_file.write(Path(name, "source.zip"), entries)
        zip_file.extract(Path(name, "source.zip"), Path(name))
        Path(name, "source").rename(folder)
        if "source.patch" in entries:
            source.apply(Path(name, "source.patch"), folder)
        source.check_links(folder)
        return source.files_in(folder)


def _omitted(
    done: list[Job],
    data: Mapping[str, Made],
    root: Path,
    with_checkpoints: bool,
    with_data: bool,
) -> dict[str, Omitted]:
    known, found = manifest.recorded(done, data), {}
    for path in (path for job in done for path in job.output):
        why = manifest.why_omitted(path, with_checkpoints, with_data)
        if why:
            file = Kept(root / path)
            digest = zip_file.sha256(file) if file.path.is_file() else known.get(path)
            found[path] = Omitted(sha256=digest, why=why)
    return found


def _results(done: list[Job], omitted: Mapping[str, Omitted], root: Path) -> dict[str, Kept]:
    """What else the jobs wrote, with the logs and benchmarks that there are."""
    found = {}
    for job in done:
        for path in job.output + job.log + job.benchmarks:
            if path not in omitted and (root / path).is_file():
                found[path] = Kept(root / path)
            elif path in job.output and path not in omitted:
                raise LRAError(f"{path}: no such file; run snakemake again")
    return found


def _last(targets: Iterable[str], done: list[Job]) -> list[str]:
    """Those that no other job reads: of a target's job Snakemake wants every output, and a data set
    whose splits were left out would be made again.
    """
    read = {path for job in done for path in job.input}
    return sorted(set(targets) - read)


def _as_kept(job: Job, then: Mapping[str, Entry | Kept], now: Mapping[str, Entry | Kept]) -> Job:
    """With its inputs' checksums in the archive, where something private was replaced in them."""
    told = dict(job.input_checksums)
    for path in told:
        changed = path in then and then[path] != now[path]
        if changed and told[path] == jobs.CHECKSUM + zip_file.sha256(then[path]):
            told[path] = jobs.CHECKSUM + zip_file.sha256(now[path])
    return job.model_copy(update={"input_checksums": told})


def _scrubbed(name: str, entry: Kept, private: Private) -> Entry | Kept:
    """The same where nothing in it is private."""
    if Path(name).suffix not in WRITTEN:
        return entry
    old = _content(entry)
    text = private.scrubbed(old.decode("utf-8", "surrogateescape"), name.endswith(LOG))
    new = text.encode("utf-8", "surrogateescape")
    return entry if new == old else Entry(new)


def _private(name: str, entry: Entry | Kept, private: Private) -> list[str]:
    if name.endswith((".arrow", f"/{manifest.WEIGHTS}")):
        return []  # numbers; any name that is spelt there was published by somebody else
    return private.found(name, _content(entry))


def _content(entry: Entry | Kept) -> bytes:
    with entry.open() as file:
        return file.read()


def _text(text: str, private: Private) -> Entry:
    return Entry(private.scrubbed(text).encode())


def _json(value: object, private: Private) -> Entry:
    return _text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", private)


def _notes(about: About, added: list[str]) -> list[str]:
    lines = []
    if about.dirty:
        lines.append("the tree has changes that are in no commit: they are in source.patch")
    if added:
        more = f" and {len(added) - FEW} more" if len(added) > FEW else ""
        lines.append(f"taken in, though git does not track them: {', '.join(added[:FEW])}{more}")
    if about.scrubbed:
        lines.append("something private in source.patch was replaced: it is not quite what ran")
    counts: dict[str, int] = {}
    for facts_of in about.omitted.values():
        counts[facts_of.why] = counts.get(facts_of.why, 0) + 1
    lines += [f"left out {count} of: {why}" for why, count in sorted(counts.items())]
    return lines
