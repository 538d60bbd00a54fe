"""The four files of a table, and what every table says in the same words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.core.unique import distinct
from lra.report.item import Item
from lra.report.tables import render
from lra.report.tables.render import Table


def write(item: Item, root: Path, stem: Path, reference: Path) -> None:
    """Write a table of the registry, of the experiment in `root`: STEM.csv, .md, .tex and .html.

    reference: csv of published accuracies.
    """
    table, lines = item.make(root, reference)
    numbers = io.StringIO()
    writer = csv.DictWriter(numbers, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    forms = {
        "csv": numbers.getvalue(),
        "md": render.markdown(table, item),
        "tex": render.latex(table, item),
        "html": render.page(table, item),
    }
    for suffix, text in forms.items():
        write_beside(stem.with_name(f"{stem.name}.{suffix}"), text.encode())


def nothing() -> Table:
    """The table of an experiment that has nothing for it."""
    return Table("Nothing was measured.", [], [], [])


def one_value(path: Path, rows: list[dict], column: str) -> None:
    """Raises LRAError naming the file and the column where rows do not belong together."""
    values = distinct(rows, column)
    if len(values) != 1:
        raise LRAError(f"{path}: more than one {column} in one table: {listed(values)}")


def status(rows: list[dict]) -> str:
    """The status that all seeds have, or e.g. 2/3 ok."""
    found = [row["status"] for row in rows]
    return found[0] if len(set(found)) == 1 else f"{found.count('ok')}/{len(found)} ok"


def listed(values: Iterable) -> str:
    return ", ".join(map(str, values))


def signed(value: float, digits: int = 2) -> str:
    """With a sign, and a minus as long as the plus; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def number(value: float | None, unit: float = 1.0) -> str:
    """With three digits at least, `-` where there is none."""
    if value is None:
        return "-"
    return f"{value / unit:,.0f}" if value / unit >= 100 else f"{value / unit:#.3g}"


def times(factor: float | None) -> str:
    return "" if factor is None else f"{factor:.{1 if factor >= 1 else 2}f}×"
