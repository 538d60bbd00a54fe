"""Required attention span per task: a dot for each model, beside that of uniform attention."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.figures import style
from lra.results.rates import read_chosen, read_of
from lra.results.records import SpanRow

TITLE = "Required attention span"
# Not the models' own marks, which hold one like a cross.
DOT = {"marker": "o", "markersize": 5, "linestyle": "none"}
MARKS = {"gradient": {}, "attention": {"markerfacecolor": "white", "markeredgewidth": 1.2}}
SEED = {"markersize": 2.8, "markeredgewidth": 0.8}


def span(span: Path, scores: Path) -> Figure:
    """Mean over layers and seeds, one panel a task; filled by gradient, hollow by attention.

    Models in the order of the table. Where a seed has no span there is no mean, but a small mark
    for each seed that has one; where none has, a cross at the left edge.
    """
    rows = [r for r in read_of(span, SpanRow, read_chosen(scores)) if r["layer"] == -1]
    if not rows:
        return style.nothing(TITLE)
    tasks, models = distinct(rows, "task"), distinct(rows, "model")
    figure, panels = style.panels_of_rows(TITLE, tasks, models, 0.7, "span (tokens)")
    for axes, task in zip(panels, tasks, strict=True):
        _panel(axes, [r for r in rows if r["task"] == task], models)
    return _explained(figure, rows)


def _panel(axes: Axes, rows: list[dict], models: list[str]) -> None:
    even = sum(r["uniform"] for r in rows) / len(rows)
    axes.axvline(even, **style.CHANCE)
    _limits(axes, [even, *(r["span"] for r in rows if r["status"] == "ok")])
    looks = style.looks(models)
    for (model,), own in grouped(rows, "model").items():
        height, look = models.index(model), looks[model] | DOT
        look |= {"markeredgecolor": look["color"], "zorder": 3}
        if not any(r["status"] == "ok" for r in own):
            style.cross(axes, 0.03, height, axes.get_yaxis_transform(), look["color"])
        for method, mark in MARKS.items():
            by = [r for r in own if r["method"] == method]
            values = [r["span"] for r in by if r["status"] == "ok"]
            if len(values) < len(by):
                axes.plot(values, [height] * len(values), **look | mark | SEED)
            elif values:
                axes.plot([min(values), max(values)], [height] * 2, color=look["color"], lw=1)
                axes.plot([sum(values) / len(values)], [height], **look | mark)


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


def _explained(figure: Figure, rows: list[dict]) -> Figure:
    """Legend of the marks, and notes on the means and on missing seeds."""
    present = [method for method in MARKS if any(r["method"] == method for r in rows)]
    handles = [Line2D([], [], color="0.2", **DOT | MARKS[method]) for method in present]
    handles.append(Line2D([], [], **style.CHANCE))
    notes = ["Mean over layers. By attention: by its weights; by gradient: by each input's effect."]
    if len(distinct(rows, "seed")) > 1:
        notes[0] += " Mark: mean over seeds; line: lowest to highest."
    notes.append(style.run_text(rows))
    partly, none = [], []
    for (model, task), own in grouped(rows, "model", "task").items():
        lost = [r for r in own if r["status"] != "ok"]
        whys = [
            f"{s}, seed {listed(distinct(by, 'seed'))}"
            for (s,), by in grouped(lost, "status").items()
        ]
        if lost:
            (none if len(lost) == len(own) else partly).append(
                f"{model} on {task} ({'; '.join(whys)})"
            )
    if partly:
        words = "Small marks, each a seed, and no mean, as other seeds have no span"
        notes.append(f"{words}: {'; '.join(partly)}.")
    if none:
        notes.append(f"× no span: {'; '.join(none)}.")
    names = [f"by {method}" for method in present]
    return style.finish(figure, handles, [*names, "uniform attention"], notes)
