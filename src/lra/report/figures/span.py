"""Required attention span per task: a dot for each model, beside what uniform attention gives."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from lra.report.figures import style
from lra.results.records import SpanRow, read_table

TITLE = "Required attention span"
LINE = 0.17  # inches: height of a model's row
UNIFORM = {"color": "0.3", "linestyle": (0, (4, 3)), "linewidth": 1}
# Not the models' own marks, which hold one like a cross.
DOT = {"marker": "o", "markersize": 5, "linestyle": "none"}
MARKS = {"gradient": {}, "attention": {"markerfacecolor": "white", "markeredgewidth": 1.2}}
SEED = {"markersize": 2.8, "markeredgewidth": 0.8}


def span(span: Path) -> Figure:
    """Mean over layers and seeds, one panel a task; filled by gradient, hollow by attention.

    Models in the order of the table. Where a seed has no span there is no mean, but a small mark
    for each seed that has one; where none has, a cross at the left edge.
    """
    rows = [r for r in read_table(span, SpanRow).to_pylist() if r["layer"] == -1]
    if not rows:
        return style.nothing(TITLE)
    tasks, models = (list(dict.fromkeys(r[column] for r in rows)) for column in ("task", "model"))
    columns = min(3, len(tasks))
    lines = math.ceil(len(tasks) / columns)
    width = style.PAGE if columns > 2 else style.COLUMN
    figure = style.blank(width, 0.4 + lines * (0.7 + LINE * len(models)))
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
    figure.suptitle(TITLE)
    for number, (axes, task) in enumerate(zip(panels.flat, tasks, strict=False)):
        below = number + columns >= len(tasks)  # nothing is under this panel
        axes.set(title=task, xlabel="span (tokens)" if below else "")
        _panel(axes, [r for r in rows if r["task"] == task], models)
    for axes in panels.flat[len(tasks) :]:
        axes.remove()
    _explain(figure, rows)
    style.settle(figure)
    return figure


def _panel(axes: Axes, rows: list[dict], models: list[str]) -> None:
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.grid(axis="y", linewidth=0.5)
    known = [r for r in rows if r["status"] == "ok"]
    even = sum(r["uniform"] for r in rows) / len(rows)
    axes.axvline(even, **UNIFORM)
    _limits(axes, [even, *(r["span"] for r in known)])
    looks = style.looks(models)
    for height, model in enumerate(models):
        own = [r for r in rows if r["model"] == model]
        look = looks[model] | DOT
        if not any(r["status"] == "ok" for r in own):
            style.cross(axes, 0.03, height, axes.get_yaxis_transform(), look["color"])
        for method, mark in MARKS.items():
            by = [r for r in own if r["method"] == method]
            values = [r["span"] for r in by if r["status"] == "ok"]
            if not values:
                continue
            edge = {"markeredgecolor": look["color"], "zorder": 3}
            if len(values) < len(by):
                axes.plot(values, [height] * len(values), **look | mark | edge | SEED)
                continue
            axes.plot([min(values), max(values)], [height] * 2, color=look["color"], lw=1)
            axes.plot([sum(values) / len(values)], [height], **look | mark | edge)


def _limits(axes: Axes, values: list[float]) -> None:
    """A logarithmic axis where the spans differ by more than a factor of 20 and none is 0."""
    if min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
        axes.set_xlim(style.log_limits(values))
        style.log_ticks(axes.xaxis)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))  # more would touch each other
    else:
        axes.set_xlim(-0.04 * max(values), 1.08 * max(values))
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _explain(figure: Figure, rows: list[dict]) -> None:
    """Legend of the marks, and notes on the means and on what they lack."""
    present = [method for method in MARKS if any(r["method"] == method for r in rows)]
    handles = [Line2D([], [], color="0.2", **DOT | MARKS[method]) for method in present]
    handles.append(Line2D([], [], **UNIFORM))
    notes = ["Mean over layers. By attention: by its weights; by gradient: by each input's effect."]
    if len({r["seed"] for r in rows}) > 1:
        notes[0] += " Mark: mean over seeds; line: lowest to highest."
    notes.append(style.run_text(rows))
    cells: dict[tuple[str, str], list[dict]] = {}
    for r in rows:
        cells.setdefault((r["model"], r["task"]), []).append(r)
    lost = {cell: own for cell, own in cells.items() if any(r["status"] != "ok" for r in own)}
    none = [cell for cell, own in lost.items() if all(r["status"] != "ok" for r in own)]
    for words, some in (
        ("Small marks, each a seed, and no mean, as others have no span", lost.keys() - none),
        ("× no span", none),
    ):
        said = [f"{m} on {t} ({_why(own)})" for (m, t), own in lost.items() if (m, t) in some]
        notes += [f"{words}: {'; '.join(said)}."] if said else []
    names = [f"by {method}" for method in present]
    style.below(figure, handles, [*names, "uniform attention"], None, notes)


def _why(rows: list[dict]) -> str:
    """`oom, seed 0, 1` of the rows that are not ok."""
    seeds: dict[str, dict[str, None]] = {}
    for r in rows:
        if r["status"] != "ok":
            seeds.setdefault(r["status"], {})[str(r["seed"])] = None
    return "; ".join(f"{status}, seed {', '.join(own)}" for status, own in seeds.items())
