"""Gather the results of an experiment, with all that they depend on, and write the archive."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lra.archive import descriptions, jobs, manifest, source, zip_file
from lra.archive.jobs import CHECKSUM, Job
from lra.archive.manifest import About
from lra.archive.redact import Private
from lra.archive.source import LINK, Entry
from lra.config.cell import to_yaml
from lra.config.schema import Experiment
from lra.core.errors import LRAError
from lra.results import layout

NUMBERS = (".arrow", layout.CHECKPOINT_FILE)  # a name that they happen to spell is nobody's secret


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
    private = private or Private(root)
    done = jobs.behind(targets, root)
    origin = source.read(root)
    source.check_links(root, origin.files)
    code = {f"source/{name}": entry for name, entry in origin.files.items()}
    optional = (layout.CHECKPOINT_FILE,) * with_checkpoints + (".arrow",) * with_data
    results = {
        path: Entry(root / path)
        for job in done for path in job.output + job.log
        if (root / path).is_file() and (path.endswith(optional) or not manifest.why_omitted(path))
    }  # fmt: skip
    entries = code | results
    uncommitted = code.keys() & {f"source/{name}" for name in origin.changed}
    clean = {name: _redacted(name, entries[name], private) for name in results.keys() | uncommitted}
    replaced = {name: entries[name] for name in clean if clean[name] is not entries[name]}
    entries |= clean
    text = private.redacted(to_yaml(experiment.model_copy(update={"data_mirror": None})))
    entries[manifest.EXPERIMENT] = Entry(text.encode())
    about = manifest.describe(
        experiment, targets, done, root, entries, {},
        commit=origin.commit, changed=origin.changed, redacted=not uncommitted.isdisjoint(replaced),
        versions=manifest.versions(),
    )  # fmt: skip
    about = About.model_validate_json(private.redacted(about.model_dump_json()))
    text = private.redacted(json.dumps([job.model_dump() for job in done], ensure_ascii=False))
    for name, old in replaced.items():  # where a job read it
        text = text.replace(CHECKSUM + old.sha256(), CHECKSUM + entries[name].sha256())
    done = [Job.model_validate(job) for job in json.loads(text)]
    entries |= descriptions.describe(about, done, entries)
    bad = [line for name, entry in entries.items() if not name.endswith(NUMBERS)
           for line in private.found(name, entry.read())]  # fmt: skip
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise LRAError(f"{bad[0]}{more}; nothing was archived")
    entries[zip_file.SUMS] = Entry(zip_file.sums(entries))
    zip_file.write(out, entries)
    return _notes(about, origin.added)


def _redacted(name: str, entry: Entry, private: Private) -> Entry:
    """The same entry where it is no text, or nothing in it is private."""
    if entry.mode == LINK or name.endswith(NUMBERS):
        return entry
    old = entry.read().decode("utf-8", "surrogateescape")
    new = old if "\0" in old else private.redacted(old, name)
    return entry if new == old else Entry(new.encode("utf-8", "surrogateescape"), entry.mode)


def _notes(about: About, added: list[str]) -> list[str]:
    lines = []
    if about.changed:
        lines.append("the checkout has uncommitted changes: archive.json names the files")
    if added:
        lines.append(f"added, though git does not track them: {', '.join(added)}")
    if about.redacted:
        lines.append("private text in changed source was replaced: it is not exactly what ran")
    return lines + [f"left out {count} of: {why}" for why, count in about.reasons.items()]
