"""Writes the four files of a table; what several tables share."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path

from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.core.formats import listed
from lra.core.unique import distinct
from lra.report.item import Item
from lra.report.tables import render
from lra.report.tables.render import Entry, Row, Table

NOTHING = (Table("Nothing was measured.", [], [], []), [])  # what a table without rows returns


def write(item: Item, root: Path, stem: Path, reference: Path) -> None:
    """Write a table of the registry, of the experiment in `root`: STEM.csv, .md, .tex and .html.

    reference: csv of published accuracies.
    """
    table, lines = item.make(root, reference)
    values = io.StringIO()
    writer = csv.DictWriter(values, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    texts = {
        "csv": values.getvalue(),
        "md": render.markdown(table, item),
        "tex": render.latex(table, item),
        "html": render.page(table, item),
    }
    for suffix, text in texts.items():
        write_beside(stem.with_name(f"{stem.name}.{suffix}"), text.encode())


def one_value(path: Path, rows: list[dict], *columns: str) -> None:
    """Raises LRAError naming the file and the column where rows do not belong together."""
    for column in columns:
        values = distinct(rows, column)
        if len(values) > 1:
            raise LRAError(f"{path}: more than one {column} in one table: {listed(values)}")


def models_by(
    column: str,
    lines: list[dict],
    models: Iterable[str],
    entry: Callable[[dict], Entry],
    columns: Iterable | None = None,
) -> list[Row]:
    """One row a model, with an entry for each value of `column` in `lines`; `-` without a line.

    columns: these values instead.
    """
    at = {(line["model"], line[column]): line for line in lines}
    columns = list(distinct(lines, column) if columns is None else columns)
    return [
        Row(m, [entry(at[m, c]) if (m, c) in at else Entry("-") for c in columns]) for m in models
    ]


def status(rows: list[dict]) -> str:
    """The status that all seeds have, or e.g. 2/3 ok."""
    found = [row["status"] for row in rows]
    return found[0] if len(set(found)) == 1 else f"{found.count('ok')}/{len(found)} ok"
