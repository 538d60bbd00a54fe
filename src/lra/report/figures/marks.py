"""Which model each mark of a figure is of, and its value: for the page's filter and its hover.

A mark is known by its model's colour, which no other model has (style.looks); a label by its text.
In the SVG its group gets `data-model`, and each point a `<title>`. An artist's gid is its title,
where it has one. Cells of a heat map and their texts get the class `cell`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.etree import ElementTree

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.report.figures import CELL, style

SVG = "http://www.w3.org/2000/svg"
Mark = list[tuple[str, str]]  # of each point, or of all: the model and the title


def mark(figure: Figure, models: Iterable[str]) -> dict[str, Mark]:
    """The marks of these models, by the gid that their artists get."""
    found = {look["color"]: model for model, look in style.looks([*models]).items()}
    marks: dict[str, Mark] = {}
    for kind, artist, own in _marks(figure, found):
        if title := artist.get_gid():
            own = [(own[0][0], title)]
        marks[f"{kind}-{len(marks)}"] = own
        artist.set_gid(f"{kind}-{len(marks) - 1}")
    return marks


def annotate(svg: bytes, marks: dict[str, Mark], more: dict[str, str]) -> bytes:
    """An SVG of matplotlib's, with each mark's model and titles, and more attributes of its own."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(svg)
    root.remove(root.find(f"{{{SVG}}}metadata"))
    root.attrib |= more
    for group in root.iter(f"{{{SVG}}}g"):
        if group.get("id") not in marks:
            continue
        key = group.attrib.pop("id")
        if key.startswith(CELL):
            group.set("class", CELL)
        points = [*group.iter(f"{{{SVG}}}use")] or [*group.iter(f"{{{SVG}}}path")]
        own = marks[key]
        if len({model for model, _ in own}) == 1:
            group.set("data-model", own[0][0])
            if len(points) != len(own):  # one title for all; or matplotlib left points out
                points, own = [group], [own[0] if len(own) == 1 else own[0][:1] * 2]
        for point, (model, text) in zip(points, own, strict=True):
            point.set("data-model", model)
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = text
            point.insert(0, title)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _marks(figure: Figure, models: dict[str, str]) -> Iterator[tuple[str, Artist, Mark]]:
    """Kind, artist and mark; models: by their colour."""
    names = [*models.values()]
    for axes in figure.axes:
        panel = axes.get_title() if len(figure.axes) > 1 else ""
        meshes = [artist for artist in axes.collections if isinstance(artist, QuadMesh)]
        for mesh in meshes:
            yield from _cells(axes, mesh)
        for artist in [*axes.lines, *axes.collections]:
            if artist not in meshes and (model := models.get(_colour(artist))):
                name = f"{model}, {panel}" if panel else model
                yield "mark", artist, [(model, text) for text in _values(axes, artist, name)]
        for label in [*axes.get_yticklabels(), *([] if meshes else axes.texts)]:
            if model := _named(label.get_text(), names):
                yield "label", label, [(model, model)]
    for legend in [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            if model := _named(text.get_text(), names):
                yield "label", handle, [(model, model)]
                yield "label", text, [(model, model)]


def _cells(axes: Axes, mesh: QuadMesh) -> Iterator[tuple[str, Artist, Mark]]:
    """A heat map, whose rows are models: its cells, and the texts in those that have a colour."""
    rows = [label.get_text() for label in axes.get_yticklabels()]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    at = {tuple(map(int, text.get_position())): text for text in axes.texts}
    said = {place: text.get_text() for place, text in at.items()}
    yield (
        CELL,
        mesh,
        [
            (row, f"{row}, {column}: {said.get((x, y), 'no value')}")
            for y, row in enumerate(rows)
            for x, column in enumerate(columns)
        ],
    )
    for (x, y), text in at.items():
        hidden = np.ma.getmaskarray(mesh.get_array())[y, x]
        yield "label" if hidden else CELL, text, [(rows[y], f"{rows[y]}, {columns[x]}")]


def _values(axes: Axes, artist: Artist, name: str) -> list[str]:
    """`linear, text: optimiser step 100, accuracy 61.2 %` of each point; the name of a line."""
    if isinstance(artist, PathCollection):
        points = artist.get_offsets()
    elif not isinstance(artist, Line2D) or artist.get_marker() in ("", " ", "None", "none", None):
        return [name]
    elif artist.get_transform() != axes.transData:
        return [f"{name}: no value"]  # a cross at the edge of the axes
    else:
        points = artist.get_xydata()[:: artist.get_markevery() or 1]
    panels = [axes, *reversed(axes.figure.axes)]  # only those at the edge are labelled
    x = next(filter(None, (panel.get_xlabel() for panel in panels)), "")
    y = next(filter(None, (panel.get_ylabel() for panel in panels)), "")
    axis_of = {x: 0} | ({y: 1} if y else {})  # an axis without a name has the models' rows
    return [
        f"{name}: " + ", ".join(_said(label, point[axis]) for label, axis in axis_of.items())
        for point in points
    ]


def _said(label: str, value: float) -> str:
    """`accuracy 61.2 %` for the label `accuracy (%)`."""
    word, unit = re.fullmatch(r"(.*?)(?: \((.*)\))?", label, re.DOTALL).groups()
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return " ".join([*word.split(), number, *filter(None, [unit])])


def _colour(artist: Artist) -> str:
    if isinstance(artist, Line2D):
        return to_hex(artist.get_color())
    colours = [*artist.get_facecolor(), *artist.get_edgecolor()]
    return next((to_hex(colour) for colour in colours if colour[3]), "")


def _named(text: str, models: list[str]) -> str:
    """The model whose name a label is, alone or beside something in parentheses."""
    bare = re.sub(r"^\s*\([^)]*\)\s*|\s*\(.*\)\s*$", "", text, flags=re.DOTALL)
    return bare if bare in models else ""
