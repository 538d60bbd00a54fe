"""Validation accuracy during training."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.figures import style
from lra.results.records import HistoryRow, ScoreRow, read_table

TITLE = "Accuracy on held-out validation data during training"
FLAT = 10.0  # points: the least height of a panel of curves, so that noise at chance looks small

Curve = list[tuple[int, float]]  # (step, accuracy)


def learning_curves(history: Path, scores: Path) -> Figure:
    """Validation accuracy against step: mean and range over the seeds that are ok.

    A run that is not ok is a thin line of its own, with a cross where it ended.
    """
    cells = read_table(scores, ScoreRow).to_pylist()
    if not cells:
        return style.nothing(TITLE)
    curves: dict[tuple[str, str, int], Curve] = {}
    for line in read_table(history, HistoryRow).to_pylist():
        if line["split"] == "val" and math.isfinite(line["accuracy"]):
            key = (line["task"], line["model"], line["seed"])
            curves.setdefault(key, []).append((line["step"], line["accuracy"]))
    tasks, models = distinct(cells, "task"), distinct(cells, "model")
    looks = style.looks(models)
    height = 2.2 if len(tasks) > 1 else 2.8
    figure, panels = style.panels(TITLE, tasks, height, "optimiser step", "accuracy (%)")
    for axes, task in zip(panels, tasks, strict=True):
        own = [cell for cell in cells if cell["task"] == task]
        axes.axhline(own[0]["chance"], **style.CHANCE)
        for (model,), seeds in grouped(own, "model").items():
            ok = [c["seed"] for c in seeds if c["status"] == "ok"]
            _draw_seeds(axes, [curves.get((task, model, seed), []) for seed in ok], looks[model])
        for cell in (c for c in own if c["status"] != "ok"):
            curve = curves.get((task, cell["model"], cell["seed"]), [])
            _draw_lost(axes, curve, looks[cell["model"]])
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        low, high = axes.get_ylim()
        room = max(0, FLAT - (high - low)) / 2
        axes.set_ylim(low - room, high + room)
    handles = [Line2D([], [], **looks[model]) for model in models]
    handles.append(Line2D([], [], **style.CHANCE))
    notes = [style.run_text(cells)]
    if len(distinct(cells, "seed")) > 1:
        notes = [f"Line: mean over the seeds that are ok; band: lowest to highest. {notes[0]}"]
    lost = grouped((c for c in cells if c["status"] != "ok"), "task", "model", "status")
    ended = [
        f"{model} on {task} ({status}, seed {listed(c['seed'] for c in own)})"
        for (task, model, status), own in lost.items()
    ]
    notes += [f"× not finished (thin line): {'; '.join(ended)}."] if ended else []
    return style.finish(figure, handles, [*models, "chance (majority class)"], notes)


def _draw_seeds(axes: Axes, curves: list[Curve], look: dict) -> None:
    """Mean and range of curves that have the same steps."""
    # Where some seed has no value there is no mean: a line over fewer seeds would jump.
    values = pd.DataFrame({i: dict(curve) for i, curve in enumerate(curves)}).sort_index().dropna()
    if values.empty:
        return
    axes.plot(values.index, values.mean(axis=1), **look, markevery=max(1, len(values) // 6))
    if len(curves) > 1:
        ends = values.min(axis=1), values.max(axis=1)
        axes.fill_between(values.index, *ends, color=look["color"], alpha=0.15, linewidth=0)


def _draw_lost(axes: Axes, curve: Curve, look: dict) -> None:
    """A run that was not finished; one without a single evaluation is a cross at the left edge."""
    if not curve:
        style.cross(axes, 0.04, 0.05, axes.transAxes, look["color"])
        return
    steps, values = zip(*sorted(curve), strict=True)
    axes.plot(steps, values, color=look["color"], linestyle=look["linestyle"], linewidth=0.7)
    style.cross(axes, steps[-1], values[-1], axes.transData, look["color"])
