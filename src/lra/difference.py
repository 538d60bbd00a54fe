"""Ours minus the published accuracy: a panel for each task, a dot for each model."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lra import canvas, published
from lra.records import ScoreRow, read_table
from lra.stats import Outcome, outcomes

TITLE = "Difference to the published accuracy"
LINE = 0.17  # inches: height of a model's row
NEAR = 1.0  # points: within this the figure counts as reproduced
ZERO = {"color": "0.3", "linewidth": 1}
BAND = {"color": "0.88", "zorder": 0, "linewidth": 0}


def difference(scores: Path, reference: Path) -> Figure:
    """Points of accuracy by which ours is above the published one, with its 95 % interval.

    The protocol `quick` (small models, small data) is comparable with nothing that was published.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return canvas.nothing(TITLE)
    if any(row["protocol"] == "quick" for row in rows):
        return canvas.nothing(
            TITLE,
            "No comparison: the protocol quick trains small models on small data, "
            "so no published figure has a counterpart here.",
        )
    paper = published.scores(reference)
    cells = outcomes(rows)
    theirs = {
        (m, t): value
        for m, t in cells
        if (value := published.figure(paper.get(m, {}), t)) is not None
    }
    models, tasks = (list(dict.fromkeys(cell[i] for cell in theirs)) for i in (0, 1))
    tasks = [t for t in tasks if any(isinstance(theirs.get((m, t)), float) for m in models)]
    if not tasks:
        return canvas.nothing(TITLE, "Nothing was published for these models on these tasks.")

    figure, panels = canvas.panels(TITLE, tasks, 0.5 + LINE * len(models))
    canvas.label(panels, "ours − published (points)")
    far = 2 * NEAR
    for number, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
        both = {m: (cells[m, task], theirs[m, task]) for m in models if (m, task) in theirs}
        dots = _panel(axes, models, both)
        far = max([far, *(1.15 * abs(dot) for dot in dots)])
        if number % 3:
            axes.set_yticklabels([])
    for axes in panels:  # the same scale, so that panels compare
        axes.set_xlim(-far, far)
        axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    _explain(figure, rows, reference, set(models))
    canvas.settle(figure)
    return figure


def _panel(
    axes: Axes, models: list[str], both: dict[str, tuple[Outcome, float | str]]
) -> list[float]:
    """The differences drawn, in points."""
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.grid(axis="y", linewidth=0.5)
    axes.axvspan(-NEAR, NEAR, **BAND)
    axes.axvline(0, **ZERO)
    looks = canvas.looks(models)
    dots = []
    for height, model in enumerate(models):
        ours, theirs = both.get(model, (None, None))
        if ours is None:
            continue
        if ours.number is None or not isinstance(theirs, float):
            axes.annotate(
                _why(ours, theirs),
                (0, height),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color="0.25",
            )
            continue
        look = looks[model] | {"linestyle": "none"}
        if ours.accuracy.low is not None:
            ends = [ours.accuracy.low - theirs, ours.accuracy.high - theirs]
            axes.plot(ends, [height] * 2, color=look["color"], lw=1.2, solid_capstyle="butt")
        axes.plot([ours.number - theirs], [height], **look, zorder=3)
        dots.append(ours.number - theirs)
    return dots


def _why(ours: Outcome, theirs: float | str) -> str:
    if ours.number is None and not isinstance(theirs, float):
        return f"{ours.verdict}, as published" if ours.verdict == theirs else ours.verdict
    return f"{ours.verdict} here" if ours.number is None else f"published: {theirs}"


def _explain(figure: Figure, rows: list[dict], reference: Path, compared: set[str]) -> None:
    whose = published.WHOSE.get(reference.name, reference.name)
    notes = [f"Published: {whose}."]
    if len({row["seed"] for row in rows}) > 1:
        notes.append("Dot: mean over seeds; line: its 95 % interval, cut at the frame.")
    without = [m for m in dict.fromkeys(row["model"] for row in rows) if m not in compared]
    if without:
        notes.append(f"Without a published figure: {', '.join(without)}.")
    notes.append(canvas.run_text(rows))
    handles = [Line2D([], [], **ZERO), Patch(facecolor=BAND["color"])]
    canvas.below(figure, handles, ["as published", f"within {NEAR:g} point"], None, notes)
