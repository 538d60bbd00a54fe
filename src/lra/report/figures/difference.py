"""Ours minus the published accuracy: a panel for each task, a dot for each model."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from lra.core.formats import listed
from lra.core.unique import distinct, unique
from lra.report.figures import style
from lra.results.rates import read_chosen
from lra.stats import published
from lra.stats.published import CHANCE, LEVEL, Replication, replication
from lra.stats.summary import FEWEST, MARGIN, Outcome, outcomes

TITLE = "Difference to the published accuracy"
ZERO = {"color": "0.3", "linewidth": 1}
BAND = {"color": "0.88", "zorder": 0, "linewidth": 0}
DOT = {"marker": "o", "linestyle": "none"}  # the models' own marks hold one like a cross
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 1.2}  # reproduced
HALF = {"fillstyle": "left", "markeredgewidth": 1.2}  # inconclusive
FILLED = {"reproduced": HOLLOW, "inconclusive": HALF}  # by verdict

Compared = tuple[Outcome, float | str, Replication]  # ours, the published one, the verdict


def difference(scores: Path, reference: Path) -> Figure:
    """Points of accuracy by which ours is above the published one, with its 90 % interval.

    Hollow where it is reproduced, half filled where that is inconclusive (see replication). Not
    compared: the protocol `quick` (small models, small data), and own variants of a data set.
    """
    rows = read_chosen(scores)
    if not rows:
        return style.nothing(TITLE)
    if any(row["protocol"] == "quick" for row in rows):
        return style.nothing(
            TITLE,
            "No comparison: the protocol quick trains small models on small data, "
            "so no published value has a counterpart here.",
        )
    own_tasks = published.own_variants(rows)
    paper = published.scores(reference)
    facts = {(r["model"], r["task"]): (r["n_test"], r["chance"]) for r in rows}
    found: dict[tuple[str, str], Compared] = {}
    for (model, task), ours in outcomes(rows).items():
        theirs = published.value(paper.get(model, {}), task)
        if theirs is not None and task not in own_tasks:
            verdict = replication(ours, theirs, *facts[model, task])
            found[model, task] = ours, theirs, verdict
    models = unique(model for model, _ in found)
    with_value = {task for (_, task), (_, theirs, _) in found.items() if isinstance(theirs, float)}
    tasks = [task for task in distinct(rows, "task") if task in with_value]
    own = [task for task in distinct(rows, "task") if task in own_tasks]
    notes = [f"Not compared, as variants of our own: {listed(own)}."] if own else []
    if not tasks:
        why = "Nothing was published for these models on these tasks."
        return style.nothing(TITLE, " ".join([why, *notes]))

    x = "ours − published (points)"
    figure, panels = style.panels_of_rows(TITLE, tasks, models, 0.5, x)
    far = 2 * MARGIN
    for axes, task in zip(panels, tasks, strict=True):
        dots = _panel(axes, models, {m: found[m, task] for m in models if (m, task) in found})
        far = max([far, *(1.15 * abs(dot) for dot in dots)])
    for axes in panels:  # the same scale, so that panels compare
        axes.set_xlim(-far, far)
        axes.xaxis.set_major_locator(MaxNLocator(4, symmetric=True))
    return _explained(figure, rows, reference, models, notes)


def _panel(axes: Axes, models: list[str], compared: dict[str, Compared]) -> list[float]:
    """The differences drawn, in points."""
    axes.axvspan(-MARGIN, MARGIN, **BAND)
    axes.axvline(0, **ZERO)
    looks = style.looks(models)
    dots = []
    for model, (ours, theirs, verdict) in compared.items():
        height = models.index(model)
        if ours.number is None or not isinstance(theirs, float):
            why = f"{ours.verdict} here" if ours.number is None else f"published: {theirs}"
            why = CHANCE if verdict.why == CHANCE else why
            place = {"textcoords": "offset points", "va": "center"}
            axes.annotate(why, (0, height), (3, 0), **place, fontsize=7, color="0.25")
            continue
        look = looks[model] | DOT
        if verdict.verdict in FILLED:
            look |= FILLED[verdict.verdict] | {"markeredgecolor": look["color"]}
        if ours.accuracy.n >= FEWEST:
            interval = ours.accuracy.interval(LEVEL)
            ends = [end - theirs for end in interval]
            # over the mark, which may be wider
            line = {"color": look["color"], "lw": 1.2, "solid_capstyle": "butt", "zorder": 4}
            axes.plot(ends, [height] * 2, **line)
        axes.plot([ours.number - theirs], [height], **look, zorder=3)
        dots.append(ours.number - theirs)
    return dots


def _explained(
    figure: Figure, rows: list[dict], reference: Path, compared: list[str], more: list[str]
) -> Figure:
    notes = [f"Published: {published.whose(reference)}."]
    if len(distinct(rows, "seed")) > 1:
        notes.append(
            f"Mark: mean over seeds; line, from {FEWEST} seeds on: its {LEVEL:g} % interval, cut "
            "at the frame."
        )
    without = [model for model in distinct(rows, "model") if model not in compared]
    if without:
        notes.append(f"Without a published value: {listed(without)}.")
    notes += [*more, style.run_text(rows)]
    mark = {"color": "0.2"} | DOT
    handles = [Line2D([], [], **ZERO), Patch(facecolor=BAND["color"])]
    handles += [Line2D([], [], **mark | fill) for fill in (HOLLOW, HALF, {})]
    names = ["as published", f"within {MARGIN:g} points", "reproduced", "inconclusive"]
    names.append("above or below")
    return style.finish(figure, handles, names, notes)
