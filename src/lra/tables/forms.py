"""The four files of a table, and what every table says in the same words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from lra import sheet
from lra.errors import LRAError
from lra.files import write_beside
from lra.sheet import Sheet


def write(table: Sheet, lines: list[dict], stem: Path) -> None:
    """STEM.csv of the lines, which all have the same keys; STEM.md, .tex and .html of the sheet."""
    numbers = io.StringIO()
    writer = csv.DictWriter(numbers, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    forms = {
        "csv": numbers.getvalue(),
        "md": sheet.markdown(table),
        "tex": sheet.latex(table),
        "html": sheet.page(table),
    }
    for suffix, text in forms.items():
        write_beside(stem.with_name(f"{stem.name}.{suffix}"), text.encode())


def nothing(label: str, title: str) -> Sheet:
    """The table of an experiment that has nothing for it."""
    return Sheet(label, title, "Nothing was measured.", [], [], [])


def one_value(path: Path, rows: list[dict], column: str) -> None:
    """Raises LRAError naming the file and the column where rows do not belong together."""
    values = in_order(rows, column)
    if len(values) != 1:
        raise LRAError(f"{path}: more than one {column} in one table: {listed(values)}")


def in_order(rows: Iterable[dict], column: str) -> list:
    """The values of a column, each once."""
    return list(dict.fromkeys(row[column] for row in rows))


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
