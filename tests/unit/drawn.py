"""Figures of the registry, made from what lies in a folder."""

import io
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
from fabricated import PAPER
from matplotlib.figure import Figure

from lra.report import registry
from lra.report.figures import draw, style


def figure(name: str, root: Path) -> Figure:
    with matplotlib.rc_context(style.STYLE):
        return registry.figure(name).make(root, PAPER)


def words(name: str, root: Path) -> str:
    """All text of a figure as SVG alone; raises where it is no XML."""
    content = io.BytesIO()
    with matplotlib.rc_context(style.STYLE):
        registry.figure(name).make(root, PAPER).savefig(content, format="svg")
    return " ".join(" ".join(ElementTree.fromstring(content.getvalue()).itertext()).split())


def files(name: str, root: Path, out: Path | None = None) -> None:
    """Write a figure's files to `out`, or to `root`."""
    draw.draw(registry.figure(name), root, (out or root) / name, PAPER)
