"""The pieces into which a wide figure is cut for a phone: its panels and the entries of its legend.

A panel without names of its own, because the first of its row has them, gets those beside it.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import Bbox

PAD = 2.0  # points


def pieces(figure: Figure) -> dict[str, str]:
    """Attributes of the SVG: boxes `x y width height` in points, `|` between those of a piece."""
    found = {
        "data-panels": [_panel(axes, figure.axes) for axes in figure.axes],
        "data-entries": [[box] for legend in figure.legends for box in _entries(legend)],
    }
    height, point = 72 * figure.get_size_inches()[1], 72 / figure.dpi

    def text(box: Bbox) -> str:
        left, low, right, high = (point * side for side in box.extents)
        sides = left - PAD, height - high - PAD, right - left + 2 * PAD, high - low + 2 * PAD
        return " ".join(f"{side:.2f}" for side in sides)

    return {
        key: ";".join("|".join(map(text, piece)) for piece in boxes) for key, boxes in found.items()
    }


def _panel(axes: Axes, every: list[Axes]) -> list[Bbox]:
    row = [each for each in every if _place(each)[0] == _place(axes)[0]]
    boxes = {each: each.get_tightbbox() for each in row}
    low, high = min(b.y0 for b in boxes.values()), max(b.y1 for b in boxes.values())
    own = Bbox([[boxes[axes].x0, low], [boxes[axes].x1, high]])
    if any(label.get_visible() and label.get_text() for label in axes.get_yticklabels()):
        return [own]
    first = min(row, key=lambda each: _place(each)[1])
    frame = first.get_window_extent().x0 - 2 * PAD * axes.figure.dpi / 72  # left of it
    names = Bbox([[boxes[first].x0, low], [frame, high]])
    return [names, Bbox([[axes.get_window_extent().x0, low], [own.x1, high]])]


def _place(axes: Axes) -> tuple[int, int]:
    """Row and column."""
    spec = axes.get_subplotspec()
    return spec.rowspan.start, spec.colspan.start


def _entries(legend: Legend) -> list[Bbox]:
    title = [legend.get_title().get_window_extent()] if legend.get_title().get_text() else []
    return title + [
        Bbox.union([handle.get_window_extent(), text.get_window_extent()])
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True)
    ]
