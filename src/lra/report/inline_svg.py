"""A figure's SVG as a part of the page: in the page's colours and font, without its notes.

Greys follow the page: what is white on paper is the page's ground, what is black its ink. Hues
stay, as light or dark as a contrast of three to one takes (WCAG 2.2, 1.4.11). The notes become text
of the page, which wraps on a phone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from lra.core.errors import LRAError
from lra.core.files import text_of
from lra.report.colours import as_hex, legible, parts
from lra.report.figures import CELL, NOTES, NOTHING

GROUNDS = {"light": "#ffffff", "dark": "#17191c"}
INKS = {"light": "#000000", "dark": "#f2f2f2"}  # black on paper
NAMESPACE = ' xmlns="http://www.w3.org/2000/svg"'
LINK = "{http://www.w3.org/1999/xlink}href"
HUE = 24  # of 255: how far red, green and blue of a grey differ at most


@dataclass(frozen=True)
class Inline:
    markup: str
    narrow: str  # the same in pieces for a phone, of a wide one
    width: float  # points
    notes: str
    nothing: str  # why it shows nothing, where it does
    colours: dict[str, dict[str, str]]  # CSS variable -> scheme -> colour


def inline(path: Path, name: str) -> Inline:
    """The figure in an SVG file of figures/draw.py. Raises LRAError where it cannot be read.

    name: that begins each id, so that two figures of a page share none.
    """
    try:
        # without the namespace, as HTML has it
        root = ElementTree.fromstring(text_of(path).replace(NAMESPACE, ""))
    except ElementTree.ParseError as error:
        raise LRAError(f"{path}: not an SVG file: {error}; delete it to make it again") from None
    nothing = _text(root.find(f".//g[@id='{NOTHING}']"))
    left, top, width, height = map(float, root.get("viewBox", "0 0 1 1").split())
    drawing = root.find("g")
    notes = next((g for g in root.iter("g") if (g.get("id") or "").startswith(NOTES)), None)
    if notes is not None:
        drawing.remove(notes)
        height -= float(notes.get("id").removeprefix(NOTES))
    drawing.remove(drawing.find("g"))  # the paper
    root.remove(root.find("defs"))  # a style for the whole page
    colours: dict[str, dict[str, str]] = {}
    _in_colours_of_the_page(root, colours)
    _rename(root, name)
    panels, entries = root.get("data-panels", ""), root.get("data-entries", "")
    narrow = _pieces(panels, name, "panel") + _pieces(entries, name, "entry")
    drawing.set("id", f"{name}-drawing")
    root.attrib = {"viewBox": f"{left:g} {top:g} {width:g} {height:g}", "role": "img"}
    markup = ElementTree.tostring(root, encoding="unicode")
    markup = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", markup))
    return Inline(markup, narrow, width, _text(notes), nothing, colours)


def _pieces(boxes: str, name: str, kind: str) -> str:
    """Copies of parts of the drawing: of each piece, its boxes beside each other."""
    found = []
    for piece in filter(None, boxes.split(";")):
        at, parts = 0.0, []
        for box in piece.split("|"):
            _, _, width, height = map(float, box.split())
            parts.append(
                f'<svg x="{at:g}" width="{width:g}" height="{height:g}" viewBox="{box}">'
                f'<use href="#{name}-drawing"/></svg>'
            )
            at += width
        found.append(
            f'<svg class="{kind}" viewBox="0 0 {at:g} {height:g}" style="--width: {at:g}" '
            f'aria-hidden="true">{"".join(parts)}</svg>'
        )
    return "".join(found)


def _text(group: ElementTree.Element | None) -> str:
    return "" if group is None else " ".join(" ".join(group.itertext()).split())


def _rename(root: ElementTree.Element, name: str) -> None:
    """Keep ids that something refers to, made unique; plain links instead of XLink's."""
    used = set()

    def renamed(match: re.Match) -> str:
        used.add(match[1])
        return f"#{name}-{match[1]}"

    for element in root.iter():
        if LINK in element.attrib:
            element.set("href", re.sub("^#(.*)", renamed, element.attrib.pop(LINK)))
        for key in {"clip-path", "style"} & set(element.attrib):  # a clip, a hatch
            element.set(key, re.sub(r"(?<=url\()#([^)]*)", renamed, element.get(key)))
    for element in root.iter():
        if (own := element.attrib.pop("id", None)) in used:
            element.set("id", f"{name}-{own}")


def _in_colours_of_the_page(
    element: ElementTree.Element, colours: dict[str, dict[str, str]], cell: bool = False
) -> None:
    cell = cell or element.get("class") == CELL

    def variable(match: re.Match) -> str:
        colour = match[0].lower()
        kind = f"cell-{element.tag}" if cell else "mark"
        key = f"--{kind}-{colour[1:]}"
        colours[key] = {scheme: shown(colour, scheme, kind) for scheme in GROUNDS}
        return f"var({key})"

    if style := element.get("style"):
        style = re.sub(r"font-family: [^;]*;?\s*", "", style)
        element.set("style", re.sub(r"#[0-9a-fA-F]{6}", variable, style))
    for child in element:
        _in_colours_of_the_page(child, colours, cell)


def shown(colour: str, scheme: str, kind: str = "mark") -> str:
    """What a colour on paper (#rrggbb) is in a scheme; kind: mark, cell-path or cell-text."""
    if scheme == "dark" and kind == "cell-text":
        return "#ffffff"
    rgb = parts(colour)
    white = min(rgb)
    if max(rgb) - white <= HUE / 255 or kind == "cell-path":
        # the paper's share of white becomes the ground; what is left, ink or a hue, stays
        ground = parts(GROUNDS[scheme])
        pure = [(part - white) / (1 - white) if white < 1 else 0 for part in rgb]
        if max(rgb) - white <= HUE / 255:
            pure = parts(INKS[scheme])
        mixed = zip(ground, pure, strict=True)
        return as_hex([white * g + (1 - white) * p for g, p in mixed])
    return legible(colour, GROUNDS[scheme])
