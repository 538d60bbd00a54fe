"""Names beside the markers of a scatter plot, overlapping neither each other nor a marker."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

GAPS = (2, 4, 6, 9, 14, 20, 27, 35, 45, 60, 80, 110, 150, 200)  # points from marker to label
ANGLES = (0, 180, 90, 270, 30, 150, 330, 210, 60, 120, 300, 240, 15, 165, 345, 195)  # degrees
# A name between two markers might be of either, so at first each keeps off the others' by its
# height; where that leaves no place nearby, it only does not touch them.
TRIES = [(gap, True) for gap in GAPS[:4]] + [(gap, False) for gap in GAPS]
LEADER_FROM = 9  # points: nearer labels need no line to their marker
Circle = tuple[float, float, float]  # centre and radius in pixels


def place(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    radii: Sequence[float],
    names: Sequence[str],
    lines: Sequence[Sequence[tuple[float, float]]] = (),
    **style,
) -> list[Annotation]:
    """Annotate `points` (pixels of a finished layout; radii in points), inside the axes.

    lines: what else the names keep off, each as points along it, in pixels.

    Greedy: the most crowded marker first takes the nearest free place around it. One that finds
    none is put furthest off, where it may overlap.
    """
    figure = axes.figure
    pixels = figure.dpi / 72
    renderer = figure.canvas.get_renderer()
    circles = [(x, y, r * pixels) for (x, y), r in zip(points, radii, strict=True)]
    bounds = axes.get_window_extent(renderer).padded(-2 * pixels)
    taken: list[Bbox] = []
    lines = list(lines)
    labels: dict[int, Annotation] = {}
    for i in sorted(range(len(points)), key=lambda i: (_nearest(circles, i), i)):
        label = axes.annotate(
            names[i], points[i], (0, 0), "figure pixels", "offset points", **style
        )
        size = label.get_window_extent(renderer)
        for gap, apart in TRIES:
            for angle in ANGLES:
                box = _beside(circles[i], gap * pixels, angle, size.width, size.height)
                line = _leader(circles[i], box) if gap >= LEADER_FROM else []
                room = size.height if apart else 0
                if _holds(bounds, box) and _is_free(box, room, line, i, circles, taken, lines):
                    break
            else:
                continue
            break
        taken.append(box.padded(pixels))
        lines.append(line)
        label.remove()
        labels[i] = _annotation(axes, names[i], circles[i], box, bool(line), style)
    return [labels[i] for i in range(len(points))]


def _annotation(
    axes: Axes, name: str, circle: Circle, box: Bbox, leader: bool, style: dict
) -> Annotation:
    x, y, radius = circle
    pixels = axes.figure.dpi / 72
    data = axes.transData.inverted().transform((x, y))
    middle = ((box.x0 + box.x1) / 2 - x, (box.y0 + box.y1) / 2 - y)
    arrow = {"arrowstyle": "-", "linewidth": 0.6, "color": "0.4"}
    arrow |= {"shrinkA": 0, "shrinkB": radius / pixels}
    label = axes.annotate(
        name,
        data,
        (middle[0] / pixels, middle[1] / pixels),
        "data",
        "offset points",
        ha="center",
        va="center",
        arrowprops=arrow if leader else None,
        **style,
    )
    label.set_in_layout(False)
    return label


def _beside(circle: Circle, gap: float, angle: float, width: float, height: float) -> Bbox:
    """The box whose nearest point to the circle lies `gap` off in the direction of `angle`."""
    x, y, radius = circle
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y = x + (radius + gap) * across, y + (radius + gap) * up
    left = x - width * (1 - across) / 2
    bottom = y - height * (1 - up) / 2
    return Bbox.from_bounds(left, bottom, width, height)


def _leader(circle: Circle, box: Bbox) -> list[tuple[float, float]]:
    """Points along the line from the marker to the middle of its label."""
    (x, y, _), u, v = circle, (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return [(x + (u - x) * t / 20, y + (v - y) * t / 20) for t in range(21)]


def _is_free(
    box: Bbox,
    room: float,
    line: list[tuple[float, float]],
    own: int,
    circles: list[Circle],
    taken: list[Bbox],
    lines: Sequence[Sequence[tuple[float, float]]],
) -> bool:
    others = [circle for i, circle in enumerate(circles) if i != own]
    if any(_touches(circle, box.padded(room / 2)) for circle in others):
        return False
    if _touches(circles[own], box) or any(box.overlaps(t) for t in taken):
        return False
    if any(box.contains(*point) for other in lines for point in other):
        return False
    hits = any(math.dist(point, (x, y)) < r for x, y, r in others for point in line)
    return not hits and not any(t.contains(*point) for t in taken for point in line)


def _touches(circle: Circle, box: Bbox) -> bool:
    x, y, radius = circle
    near = (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1))
    return math.dist((x, y), near) < radius


def _holds(bounds: Bbox, box: Bbox) -> bool:
    return bounds.contains(box.x0, box.y0) and bounds.contains(box.x1, box.y1)


def _nearest(circles: list[Circle], i: int) -> float:
    x, y, _ = circles[i]
    others = [math.dist((x, y), c[:2]) for j, c in enumerate(circles) if j != i]
    return min(others, default=math.inf)
