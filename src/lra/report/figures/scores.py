"""Heat map of the accuracies by model and task, dark where a model is the best on the task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from lra.core.unique import distinct
from lra.report.figures import style
from lra.results.rates import read_chosen
from lra.stats.summary import AT_CHANCE, Outcome, outcomes

TITLE = "Test accuracy (%)"
LINE = 0.23  # inches: height of a model's row
HATCH = {"fill": False, "hatch": "/////", "edgecolor": "0.78", "linewidth": 0}


def scores(scores: Path) -> Figure:
    """Mean accuracy over seeds, coloured from chance (light) to the best of the task (dark).

    FAIL (not above chance) and statuses are written in the cell; hatched: not every seed is ok.
    """
    rows = read_chosen(scores)
    if not rows:
        return style.nothing(TITLE)
    models, tasks = distinct(rows, "model"), distinct(rows, "task")
    cells = outcomes(rows)
    chance = {r["task"]: r["chance"] for r in rows}
    best = {t: max(o.number or 0 for (_, task), o in cells.items() if task == t) for t in tasks}
    table = [[cells.get((m, t)) for t in tasks] for m in models]
    scales = [(chance[t], best[t]) for t in tasks]
    shares = np.array(
        [[_share(c, *s) for c, s in zip(line, scales, strict=True)] for line in table]
    )
    texts = [[_text(cell) for cell in line] for line in table]

    colours = sns.light_palette(style.COLOURS[1], as_cmap=True)
    figure = style.blank(style.COLUMN, 0.75 + LINE * len(models))
    axes = figure.add_subplot()
    sns.heatmap(
        shares,
        ax=axes,
        mask=np.isnan(shares),
        annot=np.array(texts),
        fmt="",
        annot_kws={"fontsize": style.SMALL},
        cmap=colours,
        vmin=0,
        vmax=1,
        linewidths=0.8,
        linecolor="white",
        cbar=False,
    )
    style.letters_on_cells(axes)
    axes.set_title(TITLE)
    # six names of tasks are wider than the column
    axes.set_xticks(np.arange(len(tasks)) + 0.5, tasks, rotation=30, ha="right")
    axes.set_yticks(np.arange(len(models)) + 0.5, models, rotation=0)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", pad=0)
    axes.grid(False)
    for y, x in zip(*np.nonzero(np.isnan(shares)), strict=True):
        _hatch(axes, x, y, texts[y][x])
    handles = [Patch(facecolor=colours(share)) for share in (0.0, 1.0)]
    names = ["chance", "best of the task"]
    notes = ["Mean over seeds; colour: from chance to the best of the task."]
    if any(o.verdict == "FAIL" for o in cells.values()):
        notes.append(f"FAIL: {AT_CHANCE}.".replace(" < ", "\u00a0<\u00a0"))
    if np.isnan(shares).any():
        handles.append(Patch(**HATCH))
        names.append("not every seed is ok")
    if len(cells) < len(models) * len(tasks):
        notes.append("–: the model was not trained on the task.")
    notes.append(style.run_text(rows))
    return style.finish(figure, handles, names, notes)


def _share(cell: Outcome | None, chance: float, best: float) -> float:
    """Position between chance (0) and the best of the task (1); nan where a seed is not ok."""
    if cell is None or not cell.finished:
        return float("nan")
    if cell.verdict == "FAIL" or best <= chance:
        return 0.0
    return max(0.0, min(1.0, (cell.accuracy.mean - chance) / (best - chance)))


def _text(cell: Outcome | None) -> str:
    if cell is None:
        return "–"
    return f"{cell.accuracy.mean:.1f}" if cell.verdict == "ok" else cell.verdict


def _hatch(axes: Axes, x: int, y: int, text: str) -> None:
    axes.add_patch(Rectangle((x + 0.03, y + 0.06), 0.94, 0.88, **HATCH))
    back = {"facecolor": "white", "edgecolor": "none", "pad": 0.4}
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=style.SMALL, bbox=back)
