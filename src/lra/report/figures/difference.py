"""Ours minus the published accuracy: a panel for each task, a dot for each model."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lra.report.figures import style
from lra.results.records import ScoreRow, read_table
from lra.stats import published
from lra.stats.published import CHANCE, CLOSE, Replication, replication
from lra.stats.summary import Outcome, outcomes

TITLE = "Difference to the published accuracy"
LINE = 0.17  # inches: height of a model's row
ZERO = {"color": "0.3", "linewidth": 1}
BAND = {"color": "0.88", "zorder": 0, "linewidth": 0}
DOT = {"marker": "o", "linestyle": "none"}  # the models' own marks hold one like a cross
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 1.2}  # reproduced

Compared = tuple[Outcome, float | str, Replication]  # ours, the published one, the verdict


def difference(scores: Path, reference: Path) -> Figure:
    """Points of accuracy by which ours is above the published one, with its 95 % interval.

    Hollow where it counts as reproduced (see replication). Comparable with nothing published: the
    protocol `quick` (small models, small data), and own variants of a task's data set.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return style.nothing(TITLE)
    if any(row["protocol"] == "quick" for row in rows):
        return style.nothing(
            TITLE,
            "No comparison: the protocol quick trains small models on small data, "
            "so no published figure has a counterpart here.",
        )
    own_tasks = published.own_variants(rows)
    paper = published.scores(reference)
    facts = {(r["model"], r["task"]): (r["n_test"], r["chance"], r["protocol"]) for r in rows}
    met: dict[tuple[str, str], Compared] = {}
    for (model, task), ours in outcomes(rows).items():
        theirs = published.figure(paper.get(model, {}), task)
        if theirs is not None and task not in own_tasks:
            verdict = replication(ours, theirs, *facts[model, task], own_task=False)
            met[model, task] = ours, theirs, verdict
    models, tasks = (list(dict.fromkeys(cell[i] for cell in met)) for i in (0, 1))
    tasks = [t for t in tasks if any(isinstance(met[c][1], float) for c in met if c[1] == t)]
    own = [t for t in dict.fromkeys(row["task"] for row in rows) if t in own_tasks]
    notes = [f"Not compared, as variants of our own: {', '.join(own)}."] if own else []
    if not tasks:
        why = "Nothing was published for these models on these tasks."
        return style.nothing(TITLE, " ".join([why, *notes]))

    figure, panels = style.panels(TITLE, tasks, 0.5 + LINE * len(models))
    style.label(panels, "ours − published (points)")
    far = 2 * CLOSE
    for number, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
        dots = _panel(axes, models, {m: met[m, task] for m in models if (m, task) in met})
        far = max([far, *(1.15 * abs(dot) for dot in dots)])
        if number % 3:
            axes.set_yticklabels([])
    for axes in panels:  # the same scale, so that panels compare
        axes.set_xlim(-far, far)
        axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    _explain(figure, rows, reference, set(models), notes)
    style.settle(figure)
    return figure


def _panel(axes: Axes, models: list[str], both: dict[str, Compared]) -> list[float]:
    """The differences drawn, in points."""
    axes.set_yticks(range(len(models)), models)
    axes.set_ylim(len(models) - 0.4, -0.6)
    axes.grid(axis="y", linewidth=0.5)
    axes.axvspan(-CLOSE, CLOSE, **BAND)
    axes.axvline(0, **ZERO)
    looks = style.looks(models)
    dots = []
    for height, model in enumerate(models):
        if model not in both:
            continue
        ours, theirs, met = both[model]
        if ours.number is None or not isinstance(theirs, float):
            axes.annotate(
                _why(ours, theirs, met),
                (0, height),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
                color="0.25",
            )
            continue
        look = looks[model] | DOT
        if met.verdict == "reproduced":
            look |= HOLLOW | {"markeredgecolor": look["color"]}
        if ours.accuracy.low is not None:
            ends = [ours.accuracy.low - theirs, ours.accuracy.high - theirs]
            # over the mark, which may be wider
            line = {"color": look["color"], "lw": 1.2, "solid_capstyle": "butt", "zorder": 4}
            axes.plot(ends, [height] * 2, **line)
        axes.plot([ours.number - theirs], [height], **look, zorder=3)
        dots.append(ours.number - theirs)
    return dots


def _why(ours: Outcome, theirs: float | str, met: Replication) -> str:
    if met.why == CHANCE:
        return met.why
    return f"{ours.verdict} here" if ours.number is None else f"published: {theirs}"


def _explain(
    figure: Figure, rows: list[dict], reference: Path, compared: set[str], more: list[str]
) -> None:
    whose = published.WHOSE.get(reference.name, reference.name)
    notes = [f"Published: {whose}."]
    if len({row["seed"] for row in rows}) > 1:
        notes.append("Mark: mean over seeds; line: its 95 % interval, cut at the frame.")
    without = [m for m in dict.fromkeys(row["model"] for row in rows) if m not in compared]
    if without:
        notes.append(f"Without a published figure: {', '.join(without)}.")
    notes += [*more, style.run_text(rows)]
    mark = {"color": "0.2"} | DOT
    handles = [Line2D([], [], **ZERO), Patch(facecolor=BAND["color"])]
    handles += [Line2D([], [], **mark | HOLLOW), Line2D([], [], **mark)]
    names = ["as published", f"within {CLOSE:g} point", "reproduced", "not reproduced"]
    style.below(figure, handles, names, None, notes)
