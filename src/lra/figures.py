"""The figures: speed and memory against length, learning curves, and those of other modules.

Each function of `FIGURES` takes what its parameters name, paths of tables mostly, and returns a
figure; `draw` writes it as SVG, PNG and PDF. What could not be had is marked or named in it.
"""

from __future__ import annotations

import inspect
import io
import math
from collections.abc import Callable, Collection
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from lra import canvas, difference, dots, energy, heat, ranks
from lra.errors import LRAError, nearest
from lra.files import write_beside
from lra.records import HistoryRow, MemoryRow, ScoreRow, SpeedRow, read_table
from lra.scatter import performance
from lra.stats import fitted_exponent

FLAT = 10.0  # points: the least height of a panel of curves, so that noise at chance looks small
CHANCE = {"color": "0.3", "linestyle": (0, (4, 3)), "linewidth": 1}


def speed(speed: Path) -> Figure:
    """Training steps per second against sequence length, with the fitted exponents."""
    rows = read_table(speed, SpeedRow).to_pylist()
    values = [r | {"value": r["train_steps_per_s"]} for r in rows]
    return _against_length(values, "Training speed by sequence length", "training steps per second")


def memory(memory: Path) -> Figure:
    """Peak memory of the tensors in training against sequence length, with the fitted exponents."""
    rows = read_table(memory, MemoryRow).to_pylist()
    unit, size = canvas.unit([r["peak_bytes"] for r in rows if r["peak_bytes"]])
    values = [r | {"value": r["peak_bytes"] and r["peak_bytes"] / size} for r in rows]
    title = "Training memory by sequence length"
    return _against_length(values, title, f"peak memory of tensors ({unit})", lost_at_top=True)


def learning_curves(history: Path, scores: Path) -> Figure:
    """Validation accuracy against step: mean and range over the seeds that are ok.

    A run that is not ok is a thin line of its own, with a cross where it ended.
    """
    cells = read_table(scores, ScoreRow).to_pylist()
    curves: dict[tuple[str, str, int], list[tuple[int, float]]] = {}
    for line in read_table(history, HistoryRow).to_pylist():
        if line["split"] == "val" and math.isfinite(line["accuracy"]):
            key = (line["task"], line["model"], line["seed"])
            curves.setdefault(key, []).append((line["step"], line["accuracy"]))
    title = "Accuracy on held-out validation data during training"
    if not cells:
        return canvas.nothing(title)
    tasks, models = _in_order(cells, "task"), _in_order(cells, "model")
    looks = canvas.looks(models)

    figure, panels = canvas.panels(title, tasks, 2.2 if len(tasks) > 1 else 2.8)
    canvas.label(panels, "optimiser step", "accuracy (%)")
    lost: dict[tuple[str, str, str], list[int]] = {}
    for axes, task in zip(panels, tasks, strict=True):
        own = [cell for cell in cells if cell["task"] == task]
        axes.axhline(own[0]["chance"], **CHANCE)
        for model in models:
            ok = [c for c in own if c["model"] == model and c["status"] == "ok"]
            _draw_seeds(axes, [curves.get((task, model, c["seed"]), []) for c in ok], looks[model])
        for cell in (c for c in own if c["status"] != "ok"):
            curve = curves.get((task, cell["model"], cell["seed"]), [])
            _draw_lost(axes, curve, looks[cell["model"]])
            lost.setdefault((cell["model"], task, cell["status"]), []).append(cell["seed"])
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        low, high = axes.get_ylim()
        room = max(0, FLAT - (high - low)) / 2
        axes.set_ylim(low - room, high + room)
    handles = [Line2D([], [], **looks[model]) for model in models]
    handles.append(Line2D([], [], **CHANCE))
    notes = [canvas.run_text(cells)]
    if len({cell["seed"] for cell in cells}) > 1:
        notes = [f"Line: mean over the seeds that are ok; band: lowest to highest. {notes[0]}"]
    ended = [
        f"{model} on {task} ({status}, seed {', '.join(map(str, seeds))})"
        for (model, task, status), seeds in lost.items()
    ]
    notes += [f"× not finished (thin line): {'; '.join(ended)}."] if ended else []
    canvas.below(figure, handles, [*models, "chance (majority class)"], None, notes)
    canvas.settle(figure)
    return figure


FIGURES: dict[str, Callable[..., Figure]] = {
    "performance": performance,
    "speed": speed,
    "memory": memory,
    "learning_curves": learning_curves,
    "span": dots.span,
    "scores": heat.scores,
    "difference": difference.difference,
    "ranks": ranks.ranks,
    "energy": energy.energy,
}
FORMS = {  # without what differs from run to run
    "svg": {"Date": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
}


def tables_of(name: str) -> list[str]:
    """What a figure is drawn from: tables, without `.parquet`, and of the arguments of `draw`."""
    if name not in FIGURES:
        raise LRAError(f"figure {name}: {nearest(name, FIGURES)}")
    return list(inspect.signature(FIGURES[name]).parameters)


def draw(
    name: str, folder: Path, stem: Path, reference: Path, own_tasks: Collection[str] = ()
) -> None:
    """Write the figure of the tables in `folder` as STEM.svg, .png and .pdf.

    `reference` is a csv of published accuracies, with which `own_tasks`, variants, do not compare.
    The same tables give the same bytes.
    """
    given = {"reference": reference, "own_tasks": own_tasks}
    inputs = [given.get(table, folder / f"{table}.parquet") for table in tables_of(name)]
    with matplotlib.rc_context(canvas.STYLE):
        figure = FIGURES[name](*inputs)
        for suffix, metadata in FORMS.items():
            content = io.BytesIO()
            figure.savefig(content, format=suffix, metadata=metadata)
            write_beside(stem.with_name(f"{stem.name}.{suffix}"), content.getvalue())


def _against_length(rows: list[dict], title: str, ylabel: str, lost_at_top: bool = False) -> Figure:
    """Lines of `value` by length, both logarithmic; crosses at the edge where a model has none."""
    if not rows:
        return canvas.nothing(title)
    models, lengths = _in_order(rows, "model"), sorted({r["length"] for r in rows})
    figure = canvas.blank(canvas.COLUMN, 3.2)
    axes = figure.add_subplot()
    axes.set(
        title=title, xlabel="sequence length (tokens)", ylabel=ylabel, xscale="log", yscale="log"
    )
    looks = canvas.looks(models)
    names, fitted = [], False
    for model in models:
        ok = sorted(
            (r["length"], r["value"]) for r in rows if r["model"] == model and r["status"] == "ok"
        )
        x, y = [length for length, _ in ok], [value for _, value in ok]
        axes.plot(x, y, **looks[model])
        exponent = f" ({fitted_exponent(x, y):+.2f})".replace("-", "−") if len(ok) >= 3 else ""
        names.append(model + exponent)
        fitted = fitted or len(ok) >= 3
    values = [r["value"] for r in rows if r["status"] == "ok"]
    lost = {}
    for r in rows:
        if r["status"] != "ok":
            lost.setdefault((r["length"], r["status"]), []).append(r["model"])
    room = 4.0 if lost else 1.4
    axes.set_xlim(canvas.log_limits(lengths, 1.2, 1.2))
    axes.set_ylim(canvas.log_limits(values, *((1.4, room) if lost_at_top else (room, 1.4))))
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: canvas.length_text(round(x))))
    axes.xaxis.set_minor_locator(NullLocator())
    canvas.log_ticks(axes.yaxis)
    for place, (length, status) in enumerate(sorted(lost)):
        count = len(lost[length, status])
        text = f"{count} {status}" if count > 1 else status
        height = 0.05 + 0.13 * sum(1 for n, _ in sorted(lost)[:place] if n == length)
        height = 1 - height if lost_at_top else height
        canvas.cross(
            axes,
            length,
            height,
            axes.get_xaxis_transform(),
            text=text,
            side=-1 if lost_at_top else 1,
        )
    notes = [canvas.run_text(rows)]
    notes += ["In parentheses: exponent of length, fitted by least squares."] if fitted else []
    together: dict[tuple[str, str], list[str]] = {}
    for (length, status), own in sorted(lost.items()):
        together.setdefault((status, ", ".join(own)), []).append(canvas.length_text(length))
    notes += [f"× {s} at {', '.join(where)}: {own}." for (s, own), where in together.items()]
    handles = [Line2D([], [], **looks[model]) for model in models]
    canvas.below(figure, handles, names, None, notes)
    canvas.settle(figure)
    return figure


def _draw_seeds(axes: Axes, curves: list[list[tuple[int, float]]], look: dict) -> None:
    """Mean and range of curves that have the same steps."""
    by_step: dict[int, list[float]] = {}
    for step, accuracy in sorted(point for curve in curves for point in curve):
        by_step.setdefault(step, []).append(accuracy)
    # Where some seed has no value there is no mean: a line over fewer seeds would jump.
    steps = [step for step, values in by_step.items() if len(values) == len(curves)]
    values = np.array([by_step[step] for step in steps])
    if not steps:
        return
    every = max(1, len(steps) // 6)
    axes.plot(steps, values.mean(axis=1), **look, markevery=every)
    if len(curves) > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        axes.fill_between(steps, low, high, color=look["color"], alpha=0.15, linewidth=0)


def _draw_lost(axes: Axes, curve: list[tuple[int, float]], look: dict) -> None:
    """A run that was not finished; one without a single evaluation is a cross at the left edge."""
    if not curve:
        canvas.cross(axes, 0.04, 0.05, axes.transAxes, look["color"])
        return
    steps, values = zip(*sorted(curve), strict=True)
    axes.plot(steps, values, color=look["color"], linestyle=look["linestyle"], linewidth=0.7)
    canvas.cross(axes, steps[-1], values[-1], axes.transData, look["color"])


def _in_order(rows: list[dict], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))
