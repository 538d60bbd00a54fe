"""Accuracy against the energy of a training: one panel a task, one mark a model."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import JOULES, fitting_unit, listed
from lra.core.unique import distinct, grouped
from lra.report.figures import style
from lra.results.rates import read_chosen

TITLE = "Accuracy against the energy of a training"


def energy(scores: Path) -> Figure:
    """Mean accuracy and mean joules over the seeds that are ok and whose energy was reported."""
    rows = read_chosen(scores)
    known = [r for r in rows if r["status"] == "ok" and r["energy_joules"]]
    if not known:
        devices = listed(distinct(rows, "device")) or "nothing trained"
        return style.nothing(
            TITLE, f"Energy not measured: no driver of an NVIDIA GPU reported it ({devices})."
        )
    tasks, models = distinct(rows, "task"), distinct(rows, "model")
    unit, size = fitting_unit((r["energy_joules"] for r in known), JOULES)
    looks = style.looks(models)
    height = 2.0 if len(tasks) > 1 else 2.8
    names = f"energy of one training ({unit})", "test accuracy (%)"
    figure, panels = style.panels(TITLE, tasks, height, *names)
    for axes, task in zip(panels, tasks, strict=True):
        _panel(axes, [r for r in known if r["task"] == task], looks, size)
    handles = [Line2D([], [], **looks[m] | {"linestyle": "none"}) for m in models]
    handles.append(Line2D([], [], **style.CHANCE))
    notes = [
        "Of the whole GPU, by its driver. Mark: mean over the seeds known; lines: their range."
    ]
    missing = grouped((r for r in rows if r not in known), "model", "task")
    cells = [
        f"{m} on {t} (seed {listed(r['seed'] for r in own)})" for (m, t), own in missing.items()
    ]
    notes += [f"Not finished, or energy not reported: {'; '.join(cells)}."] if cells else []
    notes.append(style.run_text(rows))
    return style.finish(figure, handles, [*models, "chance (majority class)"], notes)


def _panel(axes: Axes, rows: list[dict], looks: dict[str, dict], size: float) -> None:
    if not rows:
        axes.text(0.5, 0.5, "not reported", transform=axes.transAxes, ha="center", **style.NOTE)
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.set_xlim(style.log_limits([r["energy_joules"] / size for r in rows]))
    values = [r["accuracy"] for r in rows] + [rows[0]["chance"]]
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 2 - (high - low) / 2)  # noise at chance should look small
    axes.set_ylim(low - room, high + room)
    style.log_ticks(axes.xaxis)
    for (model,), own in grouped(rows, "model").items():
        x = [r["energy_joules"] / size for r in own]
        y = [r["accuracy"] for r in own]
        middle, look = (sum(x) / len(x), sum(y) / len(y)), looks[model]
        axes.plot([min(x), max(x)], [middle[1]] * 2, color=look["color"], lw=1)
        axes.plot([middle[0]] * 2, [min(y), max(y)], color=look["color"], lw=1)
        axes.plot(*([value] for value in middle), **look | {"linestyle": "none"}, zorder=3)
    axes.axhline(rows[0]["chance"], **style.CHANCE)
