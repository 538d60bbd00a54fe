"""Validation accuracy against the learning rate of a sweep: one panel a task, one line a model."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import listed
from lra.core.unique import unique
from lra.report.figures import style
from lra.results.rates import NO_SWEEP, WINDOW, Sweep, learning_rate, sweeps
from lra.results.records import ScoreRow, read_table

TITLE = "Accuracy by learning rate"
RING = style.RING | {"markersize": 10}
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 1.2}  # a rate that does not work


def rates(scores: Path, cells: Path) -> Figure:
    """Mean over seeds at each rate with every seed ok; filled where it works, a ring if chosen.

    cells: the experiment's folder, whose configurations say the rates.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    found = sweeps(rows)
    if not found:
        return style.nothing(TITLE, NO_SWEEP)
    tasks, models = unique(each.task for each in found), unique(each.model for each in found)
    looks = style.looks(models)
    names = "learning rate", "validation accuracy (%)"
    figure, panels = style.panels(TITLE, tasks, 2.6, *names)
    for axes, task in zip(panels, tasks, strict=True):
        axes.set_xscale("log")
        ticks: set[float] = set()
        for sweep in (each for each in found if each.task == task):
            at = {factor: learning_rate(cells, rows[0]) for factor, rows in sweep.at.items()}
            _draw(axes, sweep, at, looks[sweep.model])
            ticks |= {*at.values()}
        style.ticks_at(axes.xaxis, sorted(ticks)[:: 1 + len(ticks) // 7], "{:g}".format)
    grey = {"color": "0.35", "marker": "o", "linestyle": "none"}
    handles = [Line2D([], [], **looks[model]) for model in models]
    handles += [Line2D([], [], **grey), Line2D([], [], **grey | HOLLOW), Line2D([], [], **RING)]
    near = f"within {WINDOW:g} point of the model's best"
    texts = [*models, near, "not so near", "chosen"]
    return style.finish(figure, handles, texts, _notes(found, rows))


def _draw(axes: Axes, sweep: Sweep, at: dict[float, float], look: dict) -> None:
    """at: learning rate by factor."""
    means = sweep.validation
    axes.plot([at[f] for f in means], [*means.values()], **look | {"marker": ""}, zorder=3)
    for works, marks in ((True, {}), (False, HOLLOW | {"markeredgecolor": look["color"]})):
        own = [factor for factor in means if (factor in sweep.working) == works]
        places = [at[f] for f in own], [means[f] for f in own]
        axes.plot(*places, **look | marks | {"linestyle": "none"}, zorder=4)
    for factor in means:
        values = [row["val_accuracy"] for row in sweep.at[factor]]
        axes.plot([at[factor]] * 2, [min(values), max(values)], color=look["color"], linewidth=0.7)
    if sweep.best is not None:
        axes.plot([at[sweep.best]], [means[sweep.best]], **RING, zorder=5)
    for factor in sweep.at.keys() - means.keys():
        style.cross(axes, at[factor], 0.03, axes.get_xaxis_transform(), look["color"])


def _notes(found: list[Sweep], rows: list[dict]) -> list[str]:
    notes = [
        "Mark: mean over seeds; upright line: their range. Ring: the rate of the model in all "
        "other tables and figures, the best on validation."
    ]
    lost = [f"{each.model} on {each.task}" for each in found if len(each.validation) < len(each.at)]
    notes += [f"× not every seed ok at this rate, so no mean: {listed(lost)}."] if lost else []
    return [*notes, style.run_text(rows)]
