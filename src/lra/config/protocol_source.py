"""What a protocol's source has for each key of a cell: config/reference/protocols/<protocol>.csv.

A line is of a task and a model (* is any), and the last one that fits a cell counts. `value` is the
source's (JSON, or a word), `source` its file and line. Where ours differs, `ours` is our value and
`reason` says why; a key that is none of a cell's (`other: ...`) is a difference in the code. A line
with key `base` stands for the lines of another protocol's table.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lra.core.errors import LRAError
from lra.core.files import text_of

ACCURACIES = {"standard": "standard.csv", "authors": "authors.csv"}  # others: the paper's
COLUMNS = ["task", "model", "key", "value", "source", "ours", "reason"]
ANY, BASE = "*", "base"
ABSENT = "-"  # the value of a key that the source has not


def accuracies(protocol: str) -> str:
    """The csv in config/reference/ whose accuracies compare with a protocol's."""
    return ACCURACIES.get(protocol, "scores.csv")


@dataclass(frozen=True)
class Sourced:
    """One line"""

    task: str
    model: str
    key: str
    value: Any
    source: str
    ours: Any
    reason: str

    def fits(self, tasks: Iterable[str], model: str) -> bool:
        return self.task in (ANY, *tasks) and fnmatchcase(model, self.model)

    @property
    def differs(self) -> bool:
        return bool(self.reason)

    @property
    def expected(self) -> Any:
        """What our cell has."""
        return self.ours if self.differs else self.value


def path(reference: Path, protocol: str) -> Path:
    """The table of a protocol below config/reference; `quick` follows no source and has none."""
    return reference / "protocols" / f"{protocol}.csv"


def read(file: Path, above: tuple[Path, ...] = ()) -> list[Sourced]:
    """The lines of a table, after those of the one that its line `base` names; none without a file.

    above: the tables that are based on it. Raises LRAError naming the file and line where a column
    is missing, or a table is based on itself.
    """
    if not file.exists():
        return []
    found = []
    for line in (lines := csv.DictReader(io.StringIO(text_of(file), newline=""))):
        if lines.fieldnames != COLUMNS or None in line.values() or None in line:
            raise LRAError(f"{file}: line {lines.line_num}: the columns are {', '.join(COLUMNS)}")
        if line["key"] == BASE:
            base = file.with_name(f"{line['value']}.csv")
            if base in (above := (*above, file)):
                raise LRAError(f"{file}: line {lines.line_num}: {base} is based on itself")
            found += read(base, above)
        else:
            values = {key: _value(line[key]) for key in ("value", "ours")}
            found.append(Sourced(**{**line, **values}))
    return found


def of_cell(lines: Iterable[Sourced], tasks: Iterable[str], model: str) -> dict[str, Sourced]:
    """The line that counts for each key; tasks: the cell's, and the one that it is a variant of."""
    tasks = list(tasks)
    return {line.key: line for line in lines if line.fits(tasks, model)}


def differences(
    lines: Iterable[Sourced], tasks: Iterable[str], models: Iterable[str]
) -> list[Sourced]:
    """The lines that count for some cell of these and say that ours differs, in their order."""
    lines, models = list(lines), list(models)
    counting = {
        id(line) for task in tasks for model in models
        for line in of_cell(lines, [task], model).values()
    }  # fmt: skip
    return [line for line in lines if line.differs and id(line) in counting]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
