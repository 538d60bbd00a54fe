"""Why the same cell of two experiments may differ: its code, configuration, data or hardware."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from lra.compare.experiment import Finished, Key
from lra.core.errors import LRAError
from lra.results import fingerprint

# what names a cell, and does not make it
NAMES = ("experiment", "task", "model", "seed")


@dataclass
class Cause:
    kind: Literal["code", "config", "data", "hardware"]
    what: str  # "encoder.dim: 64 -> 128"
    cells: list[Key] = field(default_factory=list)


def causes(a: Finished, b: Finished, keys: list[Key]) -> list[Cause]:
    """Everything recorded with the cells `keys` of both that differs, each said once.

    Raises LRAError naming the file where a record is damaged.
    """
    found: dict[tuple[str, str], Cause] = {}
    with Codes() as codes:
        for key in keys:
            said = [("code", what) for what in _code(a, b, key, codes)]
            said += [("config", what) for what in _config(a, b, key)]
            said += [("data", what) for what in _data(a, b, key)]
            said += [("hardware", what) for what in _hardware(a, b, key)]
            for kind, what in said:
                found.setdefault((kind, what), Cause(kind, what)).cells.append(key)
    order = ("code", "config", "data", "hardware")
    return sorted(found.values(), key=lambda cause: order.index(cause.kind))


def _hardware(a: Finished, b: Finished, key: Key) -> list[str]:
    ours, theirs = a.rows[key], b.rows[key]
    columns = {"device": "device", "torch_version": "torch"}
    return [
        f"{name}: {ours[column]} -> {theirs[column]}"
        for column, name in columns.items()
        if ours[column] != theirs[column]
    ]


def _config(a: Finished, b: Finished, key: Key) -> list[str]:
    ours, theirs = a.config(key), b.config(key)
    if ours is None or theirs is None:
        return []
    return [
        f"{name}: {ours.get(name, 'not there')} -> {theirs.get(name, 'not there')}"
        for name in dict.fromkeys([*ours, *theirs])
        if name not in NAMES and ours.get(name) != theirs.get(name)
    ]


def _data(a: Finished, b: Finished, key: Key) -> list[str]:
    """By the checksums of both data sets where they are at hand, and by the test labels."""
    configs = a.config(key) or {}, b.config(key) or {}
    names = [config.get("dataset", key[0]) for config in configs]
    name = names[0] if names[0] == names[1] else " -> ".join(names)
    said = []
    sums = [_checksums(side.dataset(each)) for side, each in zip((a, b), names, strict=True)]
    if None not in sums and sums[0] != sums[1]:
        splits = [split for split in sums[0] | sums[1] if sums[0].get(split) != sums[1].get(split)]
        said.append(f"{name}: other bytes in {', '.join(splits)}")
    if a.rows[key]["status"] == b.rows[key]["status"] == "ok":
        answers = a.answers(key), b.answers(key)
        if None not in answers and not np.array_equal(answers[0][0], answers[1][0]):
            said.append(f"{name}: other test examples, by their labels")
    return said


def _checksums(path: Path) -> dict[str, str] | None:
    """SHA-256 of each split of a dataset.json; None where there is none."""
    if not path.exists():
        return None
    try:
        return {
            name: split["sha256"] for name, split in json.loads(path.read_text())["splits"].items()
        }
    except (ValueError, KeyError, TypeError) as error:
        raise LRAError(f"{path}: does not list splits and their sha256 ({error})") from None


def _code(a: Finished, b: Finished, key: Key, codes: Codes) -> list[str]:
    """The files whose code differs, where both codes are at hand; else that they do."""
    scores = a.score(key), b.score(key)
    stages = {"train": (a.rows[key], b.rows[key])}
    if None not in scores:
        stages["evaluate"] = tuple(score.model_dump() for score in scores)
    mechanism = (a.config(key) or {}).get("encoder.attention", key[1])
    files: list[str] = []
    for stage, records in stages.items():
        if records[0]["fingerprint"] != records[1]["fingerprint"]:
            pairs = [
                codes.parts(
                    side.source, record["git_commit"], record["fingerprint"], stage, mechanism
                )
                for side, record in zip((a, b), records, strict=True)
            ]
            if None in pairs:
                return [f"of {stage}, files unknown: {_missing(pairs, records)}"]
            every = dict.fromkeys([*pairs[0], *pairs[1]])
            files += [f for f in every if pairs[0].get(f) != pairs[1].get(f)]
    return [f"src/{file}" for file in dict.fromkeys(files)]


def _missing(pairs: list[dict | None], records: tuple[dict, ...]) -> str:
    lost = [
        f"{side}'s code ({_short(record['git_commit'])}) is not here"
        for side, pair, record in zip("AB", pairs, records, strict=True)
        if pair is None
    ]
    return ", ".join(lost)


def _short(commit: str | None) -> str:
    if commit is None:
        return "no commit"
    number, dirty, _ = commit.partition("-dirty")
    return number[:10] + dirty


class Codes:
    """The source trees that fingerprints were taken of: found by the fingerprint itself."""

    def __enter__(self) -> Codes:
        self.folder = tempfile.TemporaryDirectory(prefix="lra-")
        self.at = cache(self._at)
        self.parts = cache(self._parts)
        return self

    def __exit__(self, *_: object) -> None:
        self.folder.cleanup()

    def _parts(
        self, source: Path, commit: str | None, wanted: str, stage: str, mechanism: str
    ) -> dict[str, str] | None:
        """File -> its syntax, of the code with the fingerprint `wanted`; None where it is not here.

        Looked for in the results' own checkout or archive, in this package, and at the commit in
        its repository. The commit alone would not do: the tree may have had changes.
        """
        roots = (f"lra.{stage}", f"lra.attention.{mechanism}")
        for tree in (source, fingerprint.SOURCE, self.at(commit)):
            if tree is None or not (tree / "lra").is_dir():
                continue
            try:
                if fingerprint.fingerprint(*roots, source=tree) == wanted:
                    return fingerprint.parts(*roots, source=tree)
            except (ValueError, SyntaxError):  # no such module yet, or not this project's code
                continue
        return None

    def _at(self, commit: str | None) -> Path | None:
        """src/ as it was at a commit of the repository that this package lies in."""
        commit = (commit or "").removesuffix("-dirty")
        if not re.fullmatch("[0-9a-f]{7,64}", commit):  # an archive may say anything
            return None
        top = fingerprint.SOURCE.parent
        command = ["git", "-C", str(top), "archive", "--format=zip", commit, "src"]
        done = subprocess.run(command, capture_output=True)
        if done.returncode:
            return None
        target = Path(self.folder.name) / commit
        with zipfile.ZipFile(io.BytesIO(done.stdout)) as archive:
            archive.extractall(target)
        return target / "src"
