"""Accuracy against how far a token sees in a layer: one panel a task, one line a mechanism."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import listed
from lra.core.unique import distinct, grouped, unique
from lra.report.figures import style
from lra.results.rates import read_chosen
from lra.stats.reach import NO_WINDOWS, SHARE, Windows, windows

TITLE = "Accuracy by how far a token sees"
SEED = {"marker": ".", "markersize": 3.5, "linestyle": "none", "color": "0.1", "zorder": 4}


def reach(scores: Path) -> Figure:
    """Mean accuracy by window, a dot for each seed; the models without one as level lines."""
    rows = read_chosen(scores)
    by_task = {task: own for (task,), own in grouped(rows, "task").items()}
    found = {task: each for task, own in by_task.items() if (each := windows(own))}
    if not found:
        return style.nothing(TITLE, NO_WINDOWS)
    mechanisms = unique(each.mechanism for own in found.values() for each in own)
    levels = [
        model
        for (model, mechanism), own in grouped(rows, "model", "mechanism").items()
        if mechanism not in mechanisms or own[0]["reach"] is None
    ]
    # a model of the mechanism's name has its look, too: as a level line, without marks
    looks = style.looks(unique([*mechanisms, *levels]))
    figure, panels = style.panels(
        TITLE, list(found), 2.0, "tokens seen on either side", "test accuracy (%)"
    )
    for axes, (task, own) in zip(panels, found.items(), strict=True):
        for model in levels:
            _level(axes, [r for r in by_task[task] if r["model"] == model], looks[model])
        for each in own:
            _line(axes, each, looks[each.mechanism])
        widths = sorted({width for each in own for width in each.at})
        axes.set_xscale("log", base=2)
        style.ticks_at(axes.xaxis, widths[:: 1 + len(widths) // 9], "{:,g}".format)
    handles = [Line2D([], [], **looks[name] | {"linestyle": "-"}) for name in mechanisms]
    handles += [Line2D([], [], **looks[name] | {"marker": ""}) for name in levels]
    names = [f"{name} by window" for name in mechanisms] + levels
    return style.finish(
        figure,
        [*handles, Line2D([], [], **style.RING)],
        [*names, "required span"],
        _notes(rows),
    )


def _line(axes: Axes, own: Windows, look: dict) -> None:
    ok = {
        width: [row["accuracy"] for row in rows]
        for width, rows in own.at.items()
        if all(row["status"] == "ok" for row in rows)
    }
    means = {width: sum(values) / len(values) for width, values in ok.items()}
    axes.plot(list(means), list(means.values()), **look | {"linestyle": "-"}, zorder=3)
    for rows in own.at.values():
        values = [(row["reach"], row["accuracy"]) for row in rows if row["status"] == "ok"]
        axes.plot(*zip(*values, strict=True) if values else ([], []), **SEED)
    if (width := own.required().tokens) is not None:
        axes.plot([width], [means[width]], **style.RING, zorder=4)


def _level(axes: Axes, rows: list[dict], look: dict) -> None:
    """A line at the mean of the seeds and a band over their range; nothing where one is not ok."""
    if not rows or any(row["status"] != "ok" for row in rows):
        return
    values = [row["accuracy"] for row in rows]
    axes.axhspan(min(values), max(values), color=look["color"], alpha=0.1, linewidth=0)
    line = {key: look[key] for key in ("color", "linestyle")}
    axes.axhline(sum(values) / len(values), linewidth=1.1, **line)


def _notes(rows: list[dict]) -> list[str]:
    notes = [
        "In each layer a token sees itself and its neighbours within the window; pooling joins all "
        "tokens after the last layer. Line: mean over seeds; dots: the seeds; level lines: models "
        "without a window, with the range of their seeds.",
        f"Ring: the smallest window that reaches {100 * SHARE:g} % of the widest one's gain over "
        "the model that mixes no tokens; none where that gain is not told apart from 0.",
    ]
    lost = grouped((r for r in rows if r["status"] != "ok"), "model", "task")
    cells = [f"{m} on {t} (seed {listed(distinct(own, 'seed'))})" for (m, t), own in lost.items()]
    notes += [f"No mean, as not every seed is ok: {'; '.join(cells)}."] if cells else []
    return [*notes, style.run_text(rows)]
