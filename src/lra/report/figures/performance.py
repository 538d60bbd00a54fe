"""Accuracy against training speed, with memory as area: the paper's figure of the trade-off."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Transform

from lra.report.figures import label_placement, style
from lra.results.records import MemoryRow, ScoreRow, SpeedRow, read_table
from lra.stats.summary import outcome, summary

TITLE = "Accuracy against training speed"
FRONT = {"color": "0.45", "linestyle": (0, (1, 1.5)), "linewidth": 1.2, "zorder": 2}
LARGEST = 22.0  # points: diameter of the marker of the largest memory


def performance(scores: Path, speed: Path, memory: Path) -> Figure:
    """Mean accuracy over the tasks against training speed, with memory as the marker's area.

    Speed and memory are of the longest length at which every model that has any speed has one. A
    model that lacks a task or a seed has the mean of what it has and a hollow marker: it does not
    compare with the others. One without accuracy or speed is a cross at the edge of the axes.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return style.nothing(TITLE)
    fast = {(r["model"], r["length"]): r for r in read_table(speed, SpeedRow).to_pylist()}
    large = {(r["model"], r["length"]): r for r in read_table(memory, MemoryRow).to_pylist()}
    models, tasks = (
        list(dict.fromkeys(row[column] for row in rows)) for column in ("model", "task")
    )
    length = _longest_common(fast, models)
    points = [_point(m, tasks, rows, fast.get((m, length)), large.get((m, length))) for m in models]

    # More names than the paper's need more room.
    figure = style.blank(*((style.COLUMN, 3.4) if len(models) <= 14 else (style.PAGE, 4.5)))
    axes = figure.add_subplot()
    axes.set_title(TITLE)
    at = f"at {style.length_text(length)} tokens" if length else "(not profiled)"
    axes.set_xlabel(f"training steps per second {at}")
    axes.set_ylabel(f"mean test accuracy, {len(tasks)} task{'s' * (len(tasks) > 1)} (%)")
    drawn = [p for p in points if p["x"] is not None or p["y"] is not None]
    _limits(axes, *([p[c] for p in drawn if p[c] is not None] for c in "xy"))
    looks = style.looks(models)
    sizes = [p["bytes"] for p in drawn if p["bytes"] is not None]
    peak = max(sizes, default=None)
    front = pareto(points)
    if len(front) > 1:
        axes.plot([p["x"] for p in front], [p["y"] for p in front], **FRONT)
    for point in drawn:
        _draw(axes, point, looks[point["model"]]["color"], peak)

    _explain(figure, points, rows, sizes)
    style.settle(figure)
    pixels = [transform.transform((x, y)) for x, y, transform in (_place(axes, p) for p in drawn)]
    radii = [_diameter(p, peak) / 2 + 1 for p in drawn]
    texts = [f"{p['model']} ({p['why']})" if p["why"] else p["model"] for p in drawn]
    label_placement.place(axes, pixels, radii, texts, [_along(axes, front)], fontsize=style.SMALL)
    return figure


def _along(axes: Axes, front: list[dict]) -> list[tuple[float, float]]:
    """Points along the line of a front, in pixels."""
    corners = [axes.transData.transform((p["x"], p["y"])) for p in front]
    steps = np.linspace(0, 1, 101)[:, None]
    pairs = itertools.pairwise(corners)
    return [tuple(xy) for a, b in pairs for xy in (1 - steps) * a + steps * b]


def pareto(points: list[dict]) -> list[dict]:
    """Of the models with every run, those that no other equals or beats in both; slowest first."""
    front: list[dict] = []
    whole = [p for p in points if None not in (p["x"], p["y"]) and not p["lacks"]]
    for point in sorted(whole, key=lambda p: (p["x"], p["y"]), reverse=True):
        if not front or point["y"] > front[-1]["y"]:
            front.append(point)
    return front[::-1]


def _explain(figure: Figure, points: list[dict], rows: list[dict], sizes: list[float]) -> None:
    """Legend of the areas, and notes on what the means are of and lack."""
    unit, size = style.unit(sizes)
    legend = style.round_numbers(sizes)
    handles = [
        Line2D([], [], ls="", marker="o", mfc="0.85", mec="0.25", ms=_scaled(s, max(sizes)))
        for s in legend
    ]
    names = [f"{value / size:,.3g} {unit}" for value in legend]
    lacking = [f"{p['model']} ({p['lacks']})" for p in points if p["lacks"] and p["y"] is not None]
    without = [f"{p['model']} ({p['lacks']})" for p in points if p["y"] is None]
    absent = [f"{p['model']} ({p['why']})" for p in points if p["x"] is None and p["y"] is None]
    notes = [
        f"Mean over {', '.join(dict.fromkeys(r['task'] for r in rows))}. {style.run_text(rows)}"
    ]
    front = [p["model"] for p in pareto(points)]
    if front:
        notes.append(f"Dotted line: nobody is both faster and more accurate: {', '.join(front)}.")
    if any(p["at_chance"] for p in points):
        notes.append("Accuracies that are not above chance (FAIL in the table) count as they are.")
    if lacking:
        notes.append(f"Mean over fewer runs (dashed), not comparable: {', '.join(lacking)}.")
    if without:
        notes.append(f"No accuracy: {', '.join(without)}.")
    if absent:
        notes.append(f"Neither accuracy nor speed: {', '.join(absent)}.")
    style.below(figure, handles, names, "area: peak memory of tensors in training", notes, LARGEST)


def _longest_common(fast: dict[tuple[str, int], dict], models: list[str]) -> int | None:
    """The longest length at which every model that has any speed has one."""
    ok = {key for key, row in fast.items() if row["status"] == "ok"}
    profiled = {model for model, _ in ok} & set(models)
    common = [n for n in {n for _, n in fast} if all((model, n) in ok for model in profiled)]
    return max(common or [n for _, n in fast], default=None)


def _point(
    model: str, tasks: list[str], rows: list[dict], fast: dict | None, large: dict | None
) -> dict:
    """What the scatter plot needs of a model; None is what it does not have, and `why` says so."""
    outcomes = {
        t: outcome([r for r in rows if (r["model"], r["task"]) == (model, t)]) for t in tasks
    }
    means = [o.accuracy.mean for o in outcomes.values() if o.accuracy]
    lacks = [
        f"{task} {o.verdict}" for task, o in outcomes.items() if o.verdict not in ("ok", "FAIL")
    ]
    x = fast["train_steps_per_s"] if fast else None
    size = large["peak_bytes"] if large else None
    why = []
    if not means:
        why.append("no accuracy")
    if x is None:
        why.append(f"speed: {fast['status']}" if fast else "not profiled")
    elif size is None:
        why.append(f"memory: {large['status']}" if large else "no memory")
    return {
        "model": model,
        "x": x,
        "y": summary(means).mean if means else None,
        "bytes": size,
        "lacks": ", ".join(lacks),
        "at_chance": any(o.verdict == "FAIL" for o in outcomes.values()),
        "why": ", ".join(why),
    }


def _place(axes: Axes, point: dict) -> tuple[float, float, Transform]:
    """Where a model's marker goes: at the edge of the axes where it lacks a coordinate."""
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
    """A disc, dashed where the mean is over fewer runs, or a cross where a quantity is missing."""
    x, y, transform = _place(axes, point)
    if None in (point["x"], point["y"], point["bytes"]):
        style.cross(axes, x, y, transform, colour)
        return
    size = _diameter(point, peak) ** 2
    look = {"facecolor": (colour, 0.6), "edgecolor": "0.25", "linewidth": 0.7}
    if point["lacks"]:
        look |= {"facecolor": "none", "edgecolor": colour, "linestyle": "--", "linewidth": 1.2}
    axes.scatter([x], [y], s=size, zorder=3, **look)


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
