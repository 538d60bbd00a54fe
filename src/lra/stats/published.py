"""Published values (config/reference/): reading them, and whether ours reproduce them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lra.core.errors import LRAError
from lra.stats.summary import Outcome, above_chance

PAPER = "Tay et al. 2020"
WHOSE = {  # accuracy, by file
    "scores.csv": f"the paper's accuracy ({PAPER}, Table 1)",
    "standard.csv": "that of reproductions with the same small encoder (mlpen/Nystromformer; of "
    "bigbird pkuzengqi/Skyformer)",
}
AVERAGED = {"listops", "text", "retrieval", "image", "pathfinder"}  # tasks of the paper's averages
# The paper's Transformer materialises its attention matrix. It has the accuracy of both of ours,
# for they compute the same function, but only the speed of the materialised one.
MATERIALISED = "transformer-materialised"
CLOSE = 1.0  # percentage points
NEAR, WITHIN, CHANCE = f"within {CLOSE:g} point", "within our 95 % interval", "both at chance"
OWN = "on a variant of our own"
SIGNS = {"above": "↑", "below": "↓", NEAR: "≈", CHANCE: "≈", WITHIN: "∼"}

PUBLISHED_DATA = re.compile(r"-(official|release|[1-4]000)$")

Line = dict[str, str]
Verdict = Literal["reproduced", "above", "below", "not comparable"]


@dataclass(frozen=True)
class Replication:
    verdict: Verdict | None  # None where nothing was published
    why: str

    @property
    def sign(self) -> str:
        """Stands for `why` where the value is reproduced, else for the verdict."""
        return SIGNS.get(self.why if self.verdict == "reproduced" else self.verdict, "")


def accuracies(protocol: str) -> str:
    """The csv in config/reference/ whose accuracies compare with a protocol's."""
    return "standard.csv" if protocol == "standard" else "scores.csv"


def scores(path: Path) -> dict[str, Line]:
    """Lines of scores.csv by the name of our model; raises LRAError where it is no such file."""
    lines = {line["model"]: line for line in _lines(path, {"model", "avg"} | AVERAGED)}
    return lines | ({MATERIALISED: lines["transformer"]} if "transformer" in lines else {})


def efficiency(path: Path) -> dict[tuple[str, int], Line]:
    """Lines of efficiency.csv by the name of our model and the length in tokens.

    Raises LRAError where it is no such file.
    """
    ours = {"transformer": MATERIALISED}
    columns = {"model", "length", "steps_per_s", "speedup", "peak_memory_gb"}
    return {
        (ours.get(line["model"], line["model"]), int(line["length"])): line
        for line in _lines(path, columns)
    }


def value(line: Line, column: str) -> float | str | None:
    """A number, FAIL, or None where nothing was published."""
    text = line.get(column) or None
    return float(text) if text not in (None, "FAIL") else text


def remarks(path: Path, models: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Notes of remarks.csv, which lies beside `path`, on its values of these models and columns.

    A note without a model or column is on all. Raises LRAError where there is no such file.
    """
    known = {"", *models, *columns}
    lines = _lines(path.with_name("remarks.csv"), {"file", "model", "column", "note"})
    return [
        line["note"]
        for line in lines
        if line["file"] == path.name and line["model"] in known and line["column"] in known
    ]


def own_variants(rows: Iterable[dict]) -> set[str]:
    """Tasks of scores.parquet on a data set of our own, which compare with nothing published.

    A published data set has its task's name, or that with -official, -release or a length.
    """
    return {
        row["task"]
        for row in rows
        if PUBLISHED_DATA.sub("", row["dataset"]) != (row["variant_of"] or row["task"])
    }


def replication(
    found: Outcome,
    published: float | str | None,
    n_test: int | None,
    chance: float | None,
    protocol: str,
    own_task: bool,
) -> Replication:
    """Our accuracy against a published one, which is in percent, FAIL or None.

    Reproduced: the published value is within 1 point of our mean or within our 95 % interval over
    seeds, or both are at chance. A published number is tested for chance as if it were measured on
    our `n_test` examples. An average over tasks is never FAIL: it has no `n_test` and no `chance`.
    """
    if published is None:
        return Replication(None, "")
    if protocol == "quick":
        return Replication("not comparable", "protocol quick: small models on small data")
    if own_task:
        return Replication("not comparable", OWN)
    if found.verdict not in ("ok", "FAIL"):
        return Replication("not comparable", f"ours is {found.verdict}")
    if found.verdict == "FAIL":
        if isinstance(published, str) or not above_chance(published, n_test, chance):
            return Replication("reproduced", CHANCE)
        return Replication("below", "ours is at chance")
    if isinstance(published, str):
        return Replication("above", "published is at chance")
    ours = found.accuracy
    if abs(ours.mean - published) <= CLOSE:
        return Replication("reproduced", NEAR)
    if ours.low is not None and ours.low <= published <= ours.high:
        return Replication("reproduced", WITHIN)
    return Replication("above" if ours.mean > published else "below", "outside our 95 % interval")


def _lines(path: Path, columns: set[str]) -> list[Line]:
    try:
        lines = list(csv.DictReader(path.read_text().splitlines()))
    except OSError as error:
        raise LRAError(f"{path}: {error.strerror}") from None
    if missing := columns - set(lines[0] if lines else ()):
        raise LRAError(f"{path}: no column {', '.join(sorted(missing))}, or no line below it")
    return lines
