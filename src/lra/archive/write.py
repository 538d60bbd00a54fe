"""Gather an experiment and write its archive."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import yaml

from lra.archive import box, crate, jobs, source
from lra.archive.box import Kept
from lra.archive.scrub import Private
from lra.archive.source import Entry
from lra.config import Experiment
from lra.data.manifest import sha256
from lra.errors import LRAError
from lra.resolve import datasets

FORMAT = 1
WRITTEN = {".json", ".yaml", ".log", ".tsv", ".csv", ".md", ".tex", ".html", ".svg", ".txt"}
TABLE = "tables/accuracy.md"
WEIGHTS = "checkpoint.safetensors"


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
    if origin.patch:
        patch = private.scrubbed_patch(origin.patch.decode("utf-8", "surrogateescape"))
        entries["source.patch"] = Entry(patch.encode("utf-8", "surrogateescape"))
    omitted = _add_results(entries, done, root, with_checkpoints, with_data)
    entries = {name: _scrubbed(name, entry, private) for name, entry in entries.items()}

    whole = experiment.model_copy(update={"data_mirror": None}).model_dump(mode="json")
    entries["experiment.yaml"] = _text(yaml.safe_dump(whole, sort_keys=False), private)
    about = {
        "format": FORMAT,
        "experiment": experiment.experiment,
        "protocol": experiment.protocol,
        "commit": origin.commit,
        "commit_time": origin.time,
        "dirty": bool(origin.patch),
        "tree": _tree(entries),
        "snakemake": version("snakemake"),
        "targets": _last(targets, done),
        "data": _recipes(done, root),
        "hardware": _hardware(entries),
        "omitted": omitted,
    }
    listed = [job.model_dump() for job in done]
    entries["archive.json"] = _json(about, private)
    entries["jobs.json"] = _json(listed, private)
    entries["README.md"] = _text(_readme(about, entries, out.name), private)
    # what the metadata says of the jobs is what is said in jobs.json
    told = [jobs.Job(**job) for job in json.loads(entries["jobs.json"].content)]
    small = {name: _content(entry) if name.endswith(".tsv") else entry.size
             for name, entry in entries.items() if entry.mode != source.LINK}  # fmt: skip
    entries[crate.METADATA] = Entry(crate.metadata(about, told, small))
    bad = [line for name, entry in entries.items() for line in _private(name, entry, private)]
    if bad:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise LRAError(f"{bad[0]}{more}; nothing was archived")
    entries[box.SUMS] = Entry(box.sums(entries))
    box.write(out, entries)
    return _notes(about)


def _last(targets: Iterable[str], done: list[jobs.Job]) -> list[str]:
    """Those that no other job reads: of a target's job Snakemake wants every output, and a data set
    whose splits were left out would be made again.
    """
    read = {path for job in done for path in job.input}
    return sorted(set(targets) - read)


def _add_results(
    entries: dict[str, Entry | Kept],
    done: list[jobs.Job],
    root: Path,
    with_checkpoints: bool,
    with_data: bool,
) -> dict[str, dict]:
    """Add what the jobs wrote, with logs and benchmarks; return what was left out, and why."""
    omitted = {}
    for job in done:
        for path in job.output:
            why = _why_omitted(path, with_checkpoints, with_data)
            if why is None and not (root / path).is_file():
                raise LRAError(f"{path}: no such file; run snakemake again")
            if why is None:
                entries[path] = Kept(root / path)
            else:
                file = root / path
                omitted[path] = {"sha256": sha256(file) if file.is_file() else None, "why": why}
        for path in job.log + job.benchmarks:
            if (root / path).is_file():
                entries[path] = Kept(root / path)
    return omitted


def _why_omitted(path: str, with_checkpoints: bool, with_data: bool) -> str | None:
    if path.startswith("results/data/downloads/"):
        return "the data set's archive, from its publisher"
    if path.startswith("results/data/") and path.endswith(".arrow") and not with_data:
        return "data, remade by its recipe"
    if path.endswith(f"/{WEIGHTS}") and not with_checkpoints:
        return "a checkpoint, remade by training its cell"
    return None


def _scrubbed(name: str, entry: Entry | Kept, private: Private) -> Entry | Kept:
    if name.startswith("results/") and Path(name).suffix in WRITTEN:
        content = _content(entry)
        return Entry(private.scrubbed(content.decode("utf-8", "surrogateescape"))
                     .encode("utf-8", "surrogateescape"))  # fmt: skip
    return entry


def _private(name: str, entry: Entry | Kept, private: Private) -> list[str]:
    if name.endswith((".arrow", f"/{WEIGHTS}")):
        return []  # numbers; any name that is spelt there was published by somebody else
    return private.found(name, _content(entry))


def _content(entry: Entry | Kept) -> bytes:
    with entry.open() as file:
        return file.read()


def _text(text: str, private: Private) -> Entry:
    return Entry(private.scrubbed(text).encode())


def _json(value: object, private: Private) -> Entry:
    return _text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", private)


def _tree(entries: dict[str, Entry | Kept]) -> str:
    """The hash of the source as the archive gives it back. Raises LRAError where it does not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "tree")
        part = {key: entry for key, entry in entries.items() if key.startswith("source")}
        box.write(Path(name, "source.zip"), part)
        box.extract(Path(name, "source.zip"), Path(name))
        Path(name, "source").rename(folder)
        if "source.patch" in entries:
            source.apply(Path(name, "source.patch"), folder)
        return source.tree_hash(folder)


def _recipes(done: list[jobs.Job], root: Path) -> dict[str, dict]:
    """How to make each data set, its licence, and the SHA-256 of its splits."""
    known, found = datasets(root), {}
    for job in done:
        for path in job.output:
            folder, _, file = path.removeprefix("results/data/").rpartition("/")
            if path.startswith("results/data/") and file == "dataset.json":
                splits = json.loads((root / path).read_text())["splits"]
                found[folder] = known[folder].model_dump(mode="json") | {"splits": splits}
    return found


def _hardware(entries: dict[str, Entry | Kept]) -> list[dict]:
    """Every device and version of torch that a record names, with the number of its records."""
    counts: dict[tuple, int] = {}
    for name, entry in sorted(entries.items()):
        if name.startswith("results/") and name.endswith(".json"):
            record = json.loads(_content(entry))
            if "device" in record:
                driver = (record.get("gpu") or {}).get("driver")
                key = (record["device"], record["torch_version"], driver)
                counts[key] = counts.get(key, 0) + 1
    return [
        {"device": device, "torch_version": torch, "driver": driver, "records": count}
        for (device, torch, driver), count in sorted(counts.items(), key=str)
    ]


def _readme(about: dict, entries: dict[str, Entry | Kept], name: str) -> str:
    table = entries.get(f"results/{about['experiment']}/{TABLE}")
    changed = (
        "**The tree was not clean**: `source.patch` holds what the commit does not; the jobs ran "
        "with it.\n\n"
        if about["dirty"]
        else ""
    )
    left_out = sorted({facts["why"] for facts in about["omitted"].values()})
    data = [
        f"- `{name}`: {entry['licence']}. {entry['citation']}"
        for name, entry in sorted(about["data"].items())
    ]
    return f"""# Long Range Arena: experiment `{about["experiment"]}`

Protocol `{about["protocol"]}`, source at commit `{about["commit"]}` in `source/`.

{changed}{_content(table).decode() if table else "It has no table of accuracy."}

Check it, and go on from it, with the `lra` of `source/` (`source/README.md` says how to set it up):

```
lra verify {name}
lra restore {name} DIR
```

`verify` compares every checksum, the records with one another, and the tables and figures with
what the archived code makes of the records; that runs this code. It says that the archive agrees
with itself, not who made it: for that compare its SHA-256 with one that you trust. In the restored
folder, `snakemake -n --configfile config/archived.yaml` has nothing to do.

| | |
|---|---|
| `source/`, `source.patch` | the code of the commit, with the locks in `envs/`; its changes |
| `experiment.yaml`, `archive.json` | the experiment; recipes and SHA-256 of the data, hardware |
| `jobs.json` | of every job its command, parameters, inputs, outputs, start and end |
| `results/` | records, histories, predictions, tables, figures, logs, benchmarks |
| `ro-crate-metadata.json` | the same for machines: a Provenance Run Crate |

Not in here: {"; ".join(left_out) or "nothing"}. `archive.json` has their SHA-256.

Data:

{chr(10).join(data)}
"""


def _notes(about: dict) -> list[str]:
    lines = []
    if about["dirty"]:
        lines.append("the tree has changes that are in no commit: they are in source.patch")
    counts: dict[str, int] = {}
    for facts in about["omitted"].values():
        counts[facts["why"]] = counts.get(facts["why"], 0) + 1
    lines += [f"left out {count} of: {why}" for why, count in sorted(counts.items())]
    return lines
