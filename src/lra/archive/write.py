"""Gather the results of an experiment, with all that they depend on, and write the archive."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from lra.archive import crate, jobs, manifest, source, zip_file
from lra.archive.jobs import CHECKSUM, Job
from lra.archive.manifest import About
from lra.archive.readme import README, readme
from lra.archive.redact import LOG, Private
from lra.archive.source import Entry
from lra.config.schema import Experiment
from lra.core.errors import LRAError

TEXT = {".json", ".yaml", LOG, ".tsv", ".csv", ".md", ".tex", ".html", ".svg", ".txt"}
NUMBERS = (".arrow", manifest.WEIGHTS)  # a name that they happen to spell is nobody's secret
SHOWN = 10  # names in one line


def archive(
    experiment: Experiment,
    targets: Iterable[str],
    root: Path,
    out: Path,
    with_checkpoints: bool = False,
    with_data: bool = False,
    private: Private | None = None,
) -> list[str]:
    """Write the archive of `targets`, in the checkout `root`, and of all that they depend on.

    Returns lines about uncommitted changes and about what was left out.
    Raises LRAError naming the file where one is missing, or holds a secret or private name.
    """
    private = private or Private.here(root)
    done = jobs.behind(targets, root)
    if not done:
        raise LRAError(f"{experiment.experiment}: no results to archive; run snakemake first")
    origin = source.read(root)
    entries = {f"source/{name}": entry for name, entry in origin.files.items()}
    changes = origin.patch.decode("utf-8", "surrogateescape")
    patch = private.redacted_patch(changes)
    if patch:
        entries["source.patch"] = Entry(patch.encode("utf-8", "surrogateescape"))
    restored = _restored(entries)
    optional = (manifest.WEIGHTS,) * with_checkpoints + (".arrow",) * with_data
    results = {
        path: Entry(root / path)
        for job in done for path in job.output + job.log + job.benchmarks
        if (root / path).is_file() and (path.endswith(optional) or not manifest.why_omitted(path))
    }  # fmt: skip
    entries |= {name: _redacted(name, entry, private) for name, entry in results.items()}
    whole = experiment.model_copy(update={"data_mirror": None}).model_dump(mode="json")
    text = private.redacted(yaml.safe_dump(whole, sort_keys=False))
    entries["experiment.yaml"] = Entry(text.encode())
    about = manifest.describe(
        experiment, targets, done, root, entries, manifest.recorded(done, root),
        commit=origin.commit, commit_time=origin.time, redacted=patch != changes,
        tree=source.tree_hash(restored), versions=manifest.versions(),
    )  # fmt: skip
    about = About.model_validate_json(private.redacted(about.model_dump_json()))
    done = _with_redacted_inputs(done, results | origin.now, entries | restored)
    done = [Job.model_validate_json(private.redacted(job.model_dump_json())) for job in done]
    entries[manifest.NAME] = _json(about.model_dump(mode="json"))
    entries[manifest.JOBS] = _json([job.model_dump(mode="json") for job in done])
    entries[README] = Entry(readme(about, entries))
    entries[crate.METADATA] = Entry(crate.metadata(about, done, entries))
    changed = [(f"source/{name}", entry) for name, entry in restored.items()
               if entry != origin.files.get(name)]  # fmt: skip
    bad = [line for name, entry in (*entries.items(), *changed) if not name.endswith(NUMBERS)
           for line in private.found(name, entry.read())]  # fmt: skip
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise LRAError(f"{bad[0]}{more}; nothing was archived")
    entries[zip_file.SUMS] = Entry(zip_file.sums(entries))
    zip_file.write(out, entries)
    return _notes(about, sorted({*origin.now} - {*origin.files}))


def _restored(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The source that the archive restores. Raises LRAError where it cannot be restored."""
    with tempfile.TemporaryDirectory() as name:
        zip_file.write(Path(name, "source.zip"), entries)
        zip_file.extract(Path(name, "source.zip"), Path(name, "unpacked"))
        files = source.restore(Path(name, "unpacked"), Path(name, "restored"))
        return {name: Entry(entry.read(), entry.mode) for name, entry in files.items()}


def _with_redacted_inputs(
    done: list[Job], before: Mapping[str, Entry], after: Mapping[str, Entry]
) -> list[Job]:
    """The jobs, with the checksums of their inputs after something private was replaced there."""
    changed = {
        (path, CHECKSUM + entry.sha256()): CHECKSUM + after[path].sha256()
        for path, entry in before.items()
        if entry is not after[path]
    }
    return [
        job.model_copy(update={"input_checksums": {
            path: changed.get((path, checksum), checksum)
            for path, checksum in job.input_checksums.items()
        }})
        for job in done
    ]  # fmt: skip


def _redacted(name: str, entry: Entry, private: Private) -> Entry:
    """The same entry where nothing in it is private."""
    if Path(name).suffix not in TEXT:
        return entry
    old = entry.read()
    text = private.redacted(old.decode("utf-8", "surrogateescape"), name.endswith(LOG))
    new = text.encode("utf-8", "surrogateescape")
    return entry if new == old else Entry(new)


def _json(value: object) -> Entry:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return Entry(f"{text}\n".encode())


def _notes(about: About, added: list[str]) -> list[str]:
    lines = []
    if about.dirty:
        lines.append("the checkout has uncommitted changes: they are in source.patch")
    if added:
        more = f" and {len(added) - SHOWN} more" if len(added) > SHOWN else ""
        lines.append(f"added, though git does not track them: {', '.join(added[:SHOWN])}{more}")
    if about.redacted:
        lines.append("private text in source.patch was replaced: it is not exactly what ran")
    counts = Counter(each.why for each in about.omitted.values())
    return lines + [f"left out {count} of: {why}" for why, count in sorted(counts.items())]
