"""Tables and figures of the registry, made from what lies in a folder."""

import csv
from pathlib import Path

import matplotlib
from fabricated import REFERENCE
from matplotlib.figure import Figure

from lra.report import registry
from lra.report.figures import draw, style
from lra.report.tables.write import write

PAPER = REFERENCE / "scores.csv"


def table(name: str, root: Path, reference: Path = PAPER) -> tuple[list[dict], dict[str, str]]:
    """Write a table to `root`; return the lines of its csv, and the text of each other form."""
    write(registry.table(name), root, root / name, reference)
    lines = list(csv.DictReader((root / f"{name}.csv").open()))
    return lines, {form: (root / f"{name}.{form}").read_text() for form in ("md", "tex", "html")}


def figure(name: str, root: Path) -> Figure:
    with matplotlib.rc_context(style.STYLE):
        return registry.figure(name).make(root, PAPER)


def draw_files(name: str, root: Path, out: Path | None = None) -> None:
    draw.draw(registry.figure(name), root, (out or root) / name, PAPER)
