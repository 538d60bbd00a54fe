"""Accuracy against training speed, with memory as area: the paper's figure of the trade-off."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import textalloc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform
from scipy.spatial.distance import cdist

from lra.core.formats import BYTES, fitting_unit, listed
from lra.core.unique import distinct, grouped
from lra.report.figures import style
from lra.report.variants import counted_once
from lra.results.points import MemoryRow, SpeedRow, read_fast
from lra.results.rates import read_chosen
from lra.stats.summary import ABSENT, Outcome, outcomes, summary, unlearned

TITLE = "Accuracy against training speed"
FRONT = {"color": "0.45", "linestyle": (0, (1, 1.5)), "linewidth": 1.2, "zorder": 2}
LARGEST = 22.0  # points: diameter of the marker of the largest memory
SIDES = ["east", "west", "north", "south"]  # a name at a corner may be of either of two markers
BAR = {"color": "0.25", "linewidth": 0.8, "markersize": 4, "zorder": 4}
LEADER_FROM = 5.0  # points: a nearer name needs no line to its marker


def performance(scores: Path, speed: Path, memory: Path) -> Figure:
    """Mean accuracy over the learned tasks against training speed, with memory as marker's area.

    A task counts where some model is above chance; where no task does, all count. Bars: lowest to
    highest, of the seeds' means over these tasks and of the repeats of the speed.

    Speed and memory are of the longest length at which every model that has any speed has one. A
    model that lacks a task or a seed has the mean of the others and a hollow marker: it is not
    comparable. One without accuracy or speed is a cross at the edge of the axes.
    """
    rows = counted_once(read_chosen(scores))
    if not rows:
        return style.nothing(TITLE)
    fast = {(r["model"], r["length"]): r for r in read_fast(speed, SpeedRow)}
    large = {(r["model"], r["length"]): r for r in read_fast(memory, MemoryRow)}
    models, cells = distinct(rows, "model"), outcomes(rows)
    grey = unlearned(cells)
    tasks = [task for task in distinct(rows, "task") if task not in grey] or distinct(rows, "task")
    length = _longest_common(fast, models)
    points = [
        _point(
            model,
            {task: cells.get((model, task), ABSENT) for task in tasks},
            [r for r in rows if r["model"] == model and r["task"] in tasks],
            fast.get((model, length)),
            large.get((model, length)),
        )
        for model in models
    ]
    drawn = [p for p in points if p["x"] is not None or p["y"] is not None]
    sizes = [p["bytes"] for p in drawn if p["bytes"] is not None]
    peak = max(sizes, default=None)
    front = pareto(points)

    # More names than the paper's need more room.
    figure = style.blank(*((style.COLUMN, 3.4) if len(models) <= 14 else (style.PAGE, 4.5)))
    axes = figure.add_subplot()
    at = f"at {style.length_text(length)} tokens" if length else "(not profiled)"
    axes.set(title=TITLE, xlabel=f"training steps per second {at}")
    axes.set_ylabel(f"mean test accuracy, {len(tasks)} task{'s' * (len(tasks) > 1)} (%)")
    ends = {c: [end for p in drawn for end in p[f"{c}_ends"]] for c in "xy"}
    _limits(axes, *([p[c] for p in drawn if p[c] is not None] + ends[c] for c in "xy"))
    looks = style.looks(models)
    if len(front) > 1:
        axes.plot([p["x"] for p in front], [p["y"] for p in front], **FRONT)
    for point in drawn:
        _draw(axes, point, looks[point["model"]]["color"], peak)
    _explain(figure, points, rows, sizes, tasks)
    if drawn:
        _name(axes, drawn, peak, front)
    return figure


def pareto(points: list[dict]) -> list[dict]:
    """Of the models with every run, those that no other equals or beats in both; slowest first."""
    front: list[dict] = []
    whole = [p for p in points if None not in (p["x"], p["y"]) and not p["lacks"]]
    for point in sorted(whole, key=lambda p: (p["x"], p["y"]), reverse=True):
        if not front or point["y"] > front[-1]["y"]:
            front.append(point)
    return front[::-1]


def _name(axes: Axes, points: list[dict], peak: float | None, front: list[dict]) -> None:
    """Write the models' names beside their markers, clear of markers, lines and each other.

    The layout must be final.
    """
    pixels = axes.figure.dpi / 72
    places = [transform.transform((x, y)) for x, y, transform in (_place(axes, p) for p in points)]
    nearest = np.sort(cdist(places, places))[:, :2].sum(axis=1)  # the first is 0, to itself
    crowded = np.argsort(nearest, kind="stable")  # these choose first
    points = [points[i] for i in crowded]
    x, y = axes.transData.inverted().transform(places)[crowded].T
    sizes = [(_diameter(p, peak) / 2 + 1) * pixels for p in points]
    names = [f"{p['model']} ({p['why']})" if p["why"] else p["model"] for p in points]
    bars = [bar for p in points for bar in _bars(p)]
    lines = [
        [[p[c] for p in front]] * bool(front) + [bar[i] for bar in bars] or None
        for i, c in enumerate("xy")
    ]
    *_, leaders = textalloc.allocate(
        axes, x, y, names, x_scatter=x, y_scatter=y, scatter_sizes=sizes, text_scatter_sizes=sizes,
        x_lines=lines[0], y_lines=lines[1], direction=SIDES, nbr_candidates=400, margin=0.004,
        min_distance=0.006, max_distance=0.5, textsize=style.SMALL, va="bottom", linewidth=0.6,
        linecolor="0.4", avoid_label_lines_overlap=True, avoid_crossing_label_lines=True,
    )  # fmt: skip
    for leader, size in zip(leaders, sizes, strict=True):
        ends = axes.transData.transform(leader.get_xydata()) if leader else ()
        if leader and math.dist(*ends) < size + LEADER_FROM * pixels:
            leader.remove()


def _explain(
    figure: Figure, points: list[dict], rows: list[dict], sizes: list[float], tasks: list[str]
) -> None:
    """Legend of the areas, and notes on the means and on missing runs."""
    unit, size = fitting_unit(sizes, BYTES, 0.1)
    legend = style.round_numbers(sizes)
    if len(legend) < 2:
        legend = sorted({min(sizes), max(sizes)}) if sizes else []
    look = {"ls": "", "marker": "o", "mfc": "0.85", "mec": "0.25"}
    handles = [Line2D([], [], **look, ms=_scaled(value, max(sizes))) for value in legend]
    names = [f"{value / size:,.3g} {unit}" for value in legend]
    over = f"Mean over {listed(tasks)}."
    if out := [task for task in distinct(rows, "task") if task not in tasks]:
        over = f"{over[:-1]}; not {listed(out)}, which no model learned."
    bars = {"y_ends": "seeds", "x_ends": "the repeats of the speed"}
    if bars := [what for ends, what in bars.items() if any(p[ends] for p in points)]:
        over += f" Bars: lowest to highest, over {' and over '.join(bars)}."
    notes = [f"{over} {style.run_text(rows)}"]
    front = [p["model"] for p in pareto(points)]
    if len(front) > 1:
        notes.append(f"Dotted line: no model is both faster and more accurate: {listed(front)}.")
    if any(p["at_chance"] for p in points):
        notes.append("Accuracies that are not above chance (FAIL in the table) count as they are.")
    partly = [f"{p['model']} ({p['lacks']})" for p in points if p["lacks"] and p["y"] is not None]
    without = [f"{p['model']} ({p['lacks']})" for p in points if p["y"] is None]
    absent = [f"{p['model']} ({p['why']})" for p in points if p["x"] is None and p["y"] is None]
    if partly:
        notes.append(f"Mean over fewer runs (dashed), not comparable: {listed(partly)}.")
    if without:
        notes.append(f"No accuracy: {listed(without)}.")
    if absent:
        notes.append(f"Neither accuracy nor speed: {listed(absent)}.")
    title = "area: peak memory of tensors in training"
    style.finish(figure, handles, names, notes, title, LARGEST)


def _longest_common(fast: dict[tuple[str, int], dict], models: list[str]) -> int | None:
    """The longest length at which every model that has any speed has one."""
    ok = {key for key, row in fast.items() if row["status"] == "ok"}
    profiled = {model for model, _ in ok} & set(models)
    common = [n for n in {n for _, n in fast} if all((model, n) in ok for model in profiled)]
    return max(common or [n for _, n in fast], default=None)


def _point(
    model: str, cells: dict[str, Outcome], rows: list[dict], fast: dict | None, large: dict | None
) -> dict:
    """A model's coordinates, None where one is missing, and `why` it is; `cells`: by task.

    rows: of scores.parquet, its own on these tasks. The ends of its bars are empty for one seed, or
    where a seed or a coordinate is missing.
    """
    means = [cell.accuracy.mean for cell in cells.values() if cell.accuracy]
    lacks = [f"{t} {cell.verdict}" for t, cell in cells.items() if not cell.finished]
    x = fast["train_steps_per_s"] if fast else None
    size = large["peak_bytes"] if large else None
    why = [] if means else ["no accuracy"]
    if x is None:
        why.append(f"speed: {fast['status']}" if fast else "not profiled")
    elif size is None:
        why.append(f"memory: {large['status']}" if large else "no memory")
    return {
        "model": model,
        "x": x,
        "y": summary(means).mean if means else None,
        "x_ends": _ends(
            [fast["train_steps_per_s_low"], fast["train_steps_per_s_high"]] if fast else []
        ),
        "y_ends": []
        if lacks
        else _ends(
            [summary([r["accuracy"] for r in own]).mean for own in grouped(rows, "seed").values()]
        ),
        "bytes": size,
        "lacks": listed(lacks),
        "at_chance": any(cell.verdict == "FAIL" for cell in cells.values()),
        "why": listed(why),
    }


def _ends(values: list[float | None]) -> list[float]:
    """Lowest and highest; empty where a value is missing or there is one."""
    return [min(values), max(values)] if len(values) > 1 and None not in values else []


def _bars(point: dict) -> list[tuple[list[float], list[float]]]:
    """The x and y of each bar of a model that has both coordinates."""
    if point["x"] is None or point["y"] is None:
        return []
    bars = [([point["x"]] * 2, point["y_ends"])] if point["y_ends"] else []
    return bars + ([(point["x_ends"], [point["y"]] * 2)] if point["x_ends"] else [])


def _place(axes: Axes, point: dict) -> tuple[float, float, Transform]:
    """The position of a model's marker: at the edge of the axes where it lacks a coordinate."""
    if point["x"] is None:
        return 0.025, point["y"], axes.get_yaxis_transform()
    if point["y"] is None:
        return point["x"], 0.03, axes.get_xaxis_transform()
    return point["x"], point["y"], axes.transData


def _diameter(point: dict, peak: float | None) -> float:
    """Of a model's marker in points."""
    whole = None not in (point["x"], point["y"], point["bytes"])
    return _scaled(point["bytes"], peak) if whole else style.CROSS


def _scaled(size: float, peak: float) -> float:
    """Diameter in points of a disc whose area is proportional to a size in bytes."""
    return LARGEST * math.sqrt(size / peak)


def _draw(axes: Axes, point: dict, colour: tuple, peak: float | None) -> None:
    """A disc, dashed where the mean is over fewer runs, or a cross where a value is missing."""
    x, y, transform = _place(axes, point)
    if None in (point["x"], point["y"], point["bytes"]):
        style.cross(axes, x, y, transform, colour)
        return
    look = {"facecolor": (colour, 0.6), "edgecolor": "0.25", "linewidth": 0.7}
    if point["lacks"]:
        look |= {"facecolor": "none", "edgecolor": colour, "linestyle": "--", "linewidth": 1.2}
    for bar in _bars(point):
        flat = bar[0][0] != bar[0][1]
        axes.plot(*bar, marker="|" if flat else "_", **BAR)
    axes.scatter([x], [y], s=_diameter(point, peak) ** 2, zorder=3, **look)


def _limits(axes: Axes, x: list[float], y: list[float]) -> None:
    """Room around the markers for their labels."""
    if x and max(x) > 8 * min(x):
        axes.set_xscale("log")
        style.log_ticks(axes.xaxis)
        axes.set_xlim(style.log_limits(x, 1.6, 1.6))
    elif x:
        room = 0.18 * (max(x) - min(x)) or 0.3 * max(x)
        axes.set_xlim(min(x) - room, max(x) + room)
    else:
        axes.set_xticks([])
    if y:
        room = max(0.18 * (max(y) - min(y)), 1.0)
        axes.set_ylim(min(y) - room, max(y) + room)
