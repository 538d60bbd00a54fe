"""Why a cell differs between two experiments: its code, configuration, data or hardware."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from lra.compare.experiment import Key, Results
from lra.core.errors import LRAError
from lra.core.unique import unique
from lra.results import fingerprint

NAMES = ("experiment", "task", "model", "seed")  # keys that name a cell and do not change it
HARDWARE = {"device": "device", "torch_version": "torch"}  # column: what it is called


@dataclass
class Cause:
    kind: Literal["code", "config", "data", "hardware"]
    what: str  # "encoder.dim: 64 -> 128"
    cells: list[Key] = field(default_factory=list)


def causes(a: Results, b: Results, keys: list[Key]) -> list[Cause]:
    """Every recorded difference between A and B in the cells `keys`, each once.

    Raises LRAError naming the file where a record is damaged.
    """
    found: dict[tuple[str, str], Cause] = {}
    differences = {"code": _code, "config": _config, "data": _data, "hardware": _hardware}
    for kind, differ in differences.items():
        for key in keys:
            for what in differ(a, b, key):
                found.setdefault((kind, what), Cause(kind, what)).cells.append(key)
    return list(found.values())


def short(commit: str | None) -> str:
    """Ten digits of a commit, with `-dirty` where the code had changes."""
    if commit is None:
        return "no commit"
    return commit[:10] + ("-dirty" if commit.endswith("-dirty") else "")


def _hardware(a: Results, b: Results, key: Key) -> list[str]:
    ours, theirs = a.rows[key], b.rows[key]
    return [
        f"{name}: {ours[column]} -> {theirs[column]}"
        for column, name in HARDWARE.items()
        if ours[column] != theirs[column]
    ]


def _config(a: Results, b: Results, key: Key) -> list[str]:
    ours, theirs = a.config(key), b.config(key)
    if ours is None or theirs is None:
        return []
    return [
        f"{name}: {ours.get(name, 'missing')} -> {theirs.get(name, 'missing')}"
        for name in unique([*ours, *theirs])
        if name not in NAMES and ours.get(name) != theirs.get(name)
    ]


def _data(a: Results, b: Results, key: Key) -> list[str]:
    """By the checksums in dataset.json, where both have one, and by the test labels."""
    rows = a.rows[key], b.rows[key]
    name = " -> ".join(unique(row["dataset"] for row in rows))
    found = []
    sums = [_checksums(side.dataset(r["dataset"])) for side, r in zip((a, b), rows, strict=True)]
    if None not in sums and sums[0] != sums[1]:
        splits = [split for split in sums[0] | sums[1] if sums[0].get(split) != sums[1].get(split)]
        found.append(f"{name}: different bytes in {', '.join(splits)}")
    answers = a.answers(key), b.answers(key)
    scored = all(row["status"] == "ok" for row in rows) and None not in answers
    if scored and not np.array_equal(answers[0][0], answers[1][0]):
        found.append(f"{name}: different test examples, by their labels")
    return found


def _checksums(path: Path) -> dict[str, str] | None:
    """SHA-256 of each split of a dataset.json; None where there is no such file."""
    if not path.exists():
        return None
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        return {name: split["sha256"] for name, split in splits.items()}
    except (ValueError, KeyError, TypeError) as error:
        raise LRAError(f"{path}: does not list splits and their sha256 ({error})") from None


def _code(a: Results, b: Results, key: Key) -> list[str]:
    """The files that differ; where a side's code is not at hand, both fingerprints."""
    found = []
    stages = {"train": (a.rows[key], b.rows[key])}
    scores = a.score(key), b.score(key)
    if None not in scores:
        stages["evaluate"] = tuple(score.model_dump() for score in scores)
    for stage, records in stages.items():
        if records[0]["fingerprint"] == records[1]["fingerprint"]:
            continue
        ours, theirs = (
            _files(side.source, record["fingerprint"], stage, record["mechanism"])
            for side, record in zip((a, b), records, strict=True)
        )
        files = [f for f in unique([*ours, *theirs]) if ours.get(f) != theirs.get(f)]
        if ours and theirs and files:
            found += [f"src/{file}" for file in files]
        else:
            codes = (f"{r['fingerprint']} ({short(r['git_commit'])})" for r in records)
            found.append(f"of {stage}: {' -> '.join(codes)}")
    return unique(found)


@cache
def _files(source: Path, recorded: str, stage: str, mechanism: str) -> dict[str, str]:
    """Syntax by file of the code in `source`; empty where its fingerprint is not `recorded`."""
    roots = (fingerprint.STAGES[stage], f"lra.attention.{mechanism}")
    try:
        if fingerprint.fingerprint(*roots, source=source) == recorded:
            return fingerprint.parts(*roots, source=source)
    except (ValueError, SyntaxError):  # `source` has no such module, or is another project's
        pass
    return {}
