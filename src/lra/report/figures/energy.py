"""Accuracy against the energy of a training: one panel a task, one mark a model."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.report.figures import style
from lra.results.records import ScoreRow, read_table

TITLE = "Accuracy against the energy of a training"
UNITS = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9}
CHANCE = {"color": "0.3", "linestyle": (0, (4, 3)), "linewidth": 1}


def energy(scores: Path) -> Figure:
    """Mean accuracy and mean joules over the seeds that are ok and whose energy was told."""
    rows = read_table(scores, ScoreRow).to_pylist()
    known = [r for r in rows if r["status"] == "ok" and r["energy_joules"]]
    if not known:
        devices = ", ".join(dict.fromkeys(r["device"] for r in rows)) or "nothing trained"
        return style.nothing(
            TITLE,
            f"No energy is known. The driver of an NVIDIA GPU tells it; none did here ({devices}).",
        )
    tasks, models = (list(dict.fromkeys(r[column] for r in rows)) for column in ("task", "model"))
    unit, size = _unit(min(r["energy_joules"] for r in known))
    looks = style.looks(models)
    figure, panels = style.panels(TITLE, tasks, 2.0 if len(tasks) > 1 else 2.8)
    style.label(panels, f"energy of one training ({unit})", "test accuracy (%)")
    for axes, task in zip(panels, tasks, strict=True):
        own = [r for r in known if r["task"] == task]
        _panel(axes, own, looks, size)
        if own:
            axes.axhline(own[0]["chance"], **CHANCE)
    handles = [Line2D([], [], **looks[m] | {"linestyle": "none"}) for m in models]
    handles.append(Line2D([], [], **CHANCE))
    notes = [
        "Of the whole GPU, by its driver. Mark: mean over the seeds known; lines: their range."
    ]
    silent: dict[tuple[str, str], list[str]] = {}
    for r in (r for r in rows if r not in known):
        silent.setdefault((r["model"], r["task"]), []).append(str(r["seed"]))
    cells = [f"{m} on {t} (seed {', '.join(seeds)})" for (m, t), seeds in silent.items()]
    notes += [f"Not finished, or energy not told: {'; '.join(cells)}."] if cells else []
    notes.append(style.run_text(rows))
    style.below(figure, handles, [*models, "chance (majority class)"], None, notes)
    style.settle(figure)
    return figure


def _panel(axes: Axes, rows: list[dict], looks: dict[str, dict], size: float) -> None:
    if not rows:
        axes.text(0.5, 0.5, "none told", transform=axes.transAxes, ha="center", **style.NOTE)
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    axes.set_xlim(style.log_limits([r["energy_joules"] / size for r in rows]))
    values = [r["accuracy"] for r in rows] + [rows[0]["chance"]]
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 2 - (high - low) / 2)  # noise at chance should look small
    axes.set_ylim(low - room, high + room)
    style.log_ticks(axes.xaxis)
    for model, look in looks.items():
        own = [r for r in rows if r["model"] == model]
        if not own:
            continue
        x = [r["energy_joules"] / size for r in own]
        y = [r["accuracy"] for r in own]
        middle = sum(x) / len(x), sum(y) / len(y)
        axes.plot([min(x), max(x)], [middle[1]] * 2, color=look["color"], lw=1)
        axes.plot([middle[0]] * 2, [min(y), max(y)], color=look["color"], lw=1)
        axes.plot(*([value] for value in middle), **look | {"linestyle": "none"}, zorder=3)


def _unit(smallest: float) -> tuple[str, float]:
    """The largest unit in which the smallest of some energies in joules is at least 1."""
    return max(((n, s) for n, s in UNITS.items() if s <= max(smallest, 1.0)), key=lambda u: u[1])
