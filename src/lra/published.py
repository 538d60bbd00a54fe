"""Published figures (config/reference/), and which of our models they are of."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from lra.errors import LRAError

PAPER = "Tay et al. 2020"
WHOSE = {  # accuracy, by file
    "scores.csv": f"the paper's accuracy ({PAPER}, Table 1)",
    "standard.csv": "that of reproductions with the same small encoder (mlpen/Nystromformer; of "
    "bigbird pkuzengqi/Skyformer)",
}
AVERAGED = {"listops", "text", "retrieval", "image", "pathfinder"}  # tasks of the paper's averages
MATERIALISED = "transformer-materialised"

Line = dict[str, str]

# The paper's Transformer materialises its attention matrix, which computes the same function as
# our fused one at another speed: both have its accuracy as counterpart, one has its efficiency.


def scores(path: Path) -> dict[str, Line]:
    """By our model's name its line of scores.csv; raises LRAError where it is no such file."""
    lines = {line["model"]: line for line in _lines(path, {"model", "avg"} | AVERAGED)}
    return lines | ({MATERIALISED: lines["transformer"]} if "transformer" in lines else {})


def efficiency(path: Path) -> dict[tuple[str, int], Line]:
    """By our model's name and the length in tokens its line of efficiency.csv.

    Raises LRAError where it is no such file.
    """
    ours = {"transformer": MATERIALISED}
    columns = {"model", "length", "steps_per_s", "speedup", "peak_memory_gb"}
    return {
        (ours.get(line["model"], line["model"]), int(line["length"])): line
        for line in _lines(path, columns)
    }


def figure(line: Line, column: str) -> float | str | None:
    """A number, FAIL, or None where the paper has none."""
    text = line.get(column) or None
    return float(text) if text not in (None, "FAIL") else text


def remarks(path: Path, models: Iterable[str], columns: Iterable[str]) -> list[str]:
    """What remarks.csv beside `path` says of its figures of these models and columns (str).

    A remark without a model or column is of all. Raises LRAError where there is no such file.
    """
    known = {"": True} | dict.fromkeys([*models, *columns], True)
    lines = _lines(path.with_name("remarks.csv"), {"file", "model", "column", "note"})
    return [
        line["note"]
        for line in lines
        if line["file"] == path.name and line["model"] in known and line["column"] in known
    ]


def _lines(path: Path, columns: set[str]) -> list[Line]:
    try:
        lines = list(csv.DictReader(path.read_text().splitlines()))
    except OSError as error:
        raise LRAError(f"{path}: {error.strerror}") from None
    if missing := columns - set(lines[0] if lines else ()):
        raise LRAError(f"{path}: no column {', '.join(sorted(missing))}, or no line below it")
    return lines
