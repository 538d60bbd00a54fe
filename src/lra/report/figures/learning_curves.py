"""Validation accuracy during training."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator
from scipy.stats import linregress

from lra.core.formats import listed
from lra.core.unique import distinct, grouped, unique
from lra.report.figures import style
from lra.results.rates import read_chosen, read_of
from lra.results.records import HistoryRow

TITLE = "Accuracy on held-out validation data during training"
FLAT = 10.0  # points: the least height of a panel of curves, so that noise at chance looks small

Curve = list[tuple[int, float]]  # (step, accuracy)


def learning_curves(history: Path, scores: Path) -> Figure:
    """Validation accuracy against step: mean over the seeds that are ok.

    Around it the range over three seeds or more, or two seeds as pale lines. A run that is not ok
    is a thin line of its own, with a cross where it ended. Chance is known of the test set, and
    drawn where that is what was validated on.
    """
    cells = read_chosen(scores)
    if not cells:
        return style.nothing(TITLE)
    curves: dict[tuple[str, str, int], Curve] = {}
    for line in read_of(history, HistoryRow, cells):
        if line["split"] == "val" and math.isfinite(line["accuracy"]):
            key = (line["task"], line["model"], line["seed"])
            curves.setdefault(key, []).append((line["step"], line["accuracy"]))
    tasks, models = distinct(cells, "task"), distinct(cells, "model")
    looks = style.looks(models)
    height = 2.2 if len(tasks) > 1 else 2.8
    figure, panels = style.panels(TITLE, tasks, height, "optimiser step", "accuracy (%)")
    rising = []
    for axes, task in zip(panels, tasks, strict=True):
        own = [cell for cell in cells if cell["task"] == task]
        if own[0]["validation"] == "test set":
            axes.axhline(own[0]["chance"], **style.CHANCE)
        for (model,), seeds in grouped(own, "model").items():
            ok = [c["seed"] for c in seeds if c["status"] == "ok"]
            found = [dict(curves.get((task, model, seed), [])) for seed in ok]
            _draw_seeds(axes, found, looks[model])
            if still_rising(found):
                rising.append({"task": task, "model": model})
        for cell in (c for c in own if c["status"] != "ok"):
            curve = curves.get((task, cell["model"], cell["seed"]), [])
            _draw_lost(axes, curve, looks[cell["model"]])
        _ticks(
            axes,
            unique(step for (of, *_), curve in curves.items() if of == task for step, _ in curve),
        )
        low, high = axes.get_ylim()
        room = max(0, FLAT - (high - low)) / 2
        axes.set_ylim(low - room, high + room)
    handles, names = [Line2D([], [], **looks[model]) for model in models], list(models)
    if any(cell["validation"] == "test set" for cell in cells):
        handles.append(Line2D([], [], **style.CHANCE))
        names.append("chance (majority class)")
    notes = [style.run_text(cells)]
    if (count := len(distinct(cells, "seed"))) > 1:
        around = "pale lines: the two seeds" if count == 2 else "band: lowest to highest"
        notes = [f"Line: mean over the seeds that are ok; {around}. {notes[0]}"]
    if rising:
        by_task = [
            f"{task}: {listed(distinct(own, 'model'))}"
            for (task,), own in grouped(rising, "task").items()
        ]
        notes.append(
            "Still rising when training ended (best at the last evaluation, and a line through the "
            "last third, of three evaluations or more, rises at p\u00a0<\u00a00.05): "
            f"{'; '.join(by_task)}."
        )
    lost = grouped((c for c in cells if c["status"] != "ok"), "task", "model", "status")
    ended = [
        f"{model} on {task} ({status}, seed {listed(c['seed'] for c in own)})"
        for (task, model, status), own in lost.items()
    ]
    notes += [f"× not finished (thin line): {'; '.join(ended)}."] if ended else []
    return style.finish(figure, handles, names, notes)


def still_rising(curves: list[dict[int, float]]) -> bool:
    """Whether a training ended while its validation accuracy rose; one curve a seed, by step.

    It does where the mean over seeds is best at the last evaluation, and a line through the last
    third of the evaluations (of each seed less its mean there), or through the last three, rises:
    one-sided t test of its slope, p < 0.05.
    """
    values = _together(curves)
    if len(values) < 3 or values.mean(axis=1).idxmax() != values.index[-1]:
        return False
    last = values.tail(max(3, math.ceil(len(values) / 3)))
    y = (last - last.mean()).to_numpy().T
    if not y.any():
        return False
    return linregress(np.tile(last.index, len(y)), y.ravel(), alternative="greater").pvalue < 0.05


def _together(curves: list[dict[int, float]]) -> pd.DataFrame:
    """A row a step and a column a seed, of the steps that every seed has."""
    # Where some seed has no value there is no mean: a line over fewer seeds would jump.
    return pd.DataFrame(dict(enumerate(curves))).sort_index().dropna()


def _draw_seeds(axes: Axes, curves: list[dict[int, float]], look: dict) -> None:
    """Mean and range of curves that have the same steps; of two the curves themselves."""
    values = _together(curves)
    if values.empty:
        return
    axes.plot(values.index, values.mean(axis=1), **look, markevery=max(1, len(values) // 6))
    if len(curves) > 2:
        ends = values.min(axis=1), values.max(axis=1)
        axes.fill_between(values.index, *ends, color=look["color"], alpha=0.15, linewidth=0)
    elif len(curves) == 2:
        axes.plot(values.index, values, color=look["color"], alpha=0.35, linewidth=0.6)


def _ticks(axes: Axes, steps: list[int]) -> None:
    """At evaluations, the last among them."""
    steps = sorted(steps)
    every = max(1, math.ceil(len(steps) / 5))
    axes.xaxis.set_major_locator(FixedLocator(steps[::-1][::every]))


def _draw_lost(axes: Axes, curve: Curve, look: dict) -> None:
    """A run that was not finished; one without a single evaluation is a cross at the left edge."""
    if not curve:
        style.cross(axes, 0.04, 0.05, axes.transAxes, look["color"])
        return
    steps, values = zip(*sorted(curve), strict=True)
    axes.plot(steps, values, color=look["color"], linestyle=look["linestyle"], linewidth=0.7)
    style.cross(axes, steps[-1], values[-1], axes.transData, look["color"])
