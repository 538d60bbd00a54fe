"""Critical-difference diagram: average ranks of the models over the tasks (Demšar 2006).

Friedman's test says whether the models differ at all, Nemenyi's which pairs do.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from lra.core.formats import listed
from lra.core.unique import distinct
from lra.report.figures import style
from lra.report.variants import counted_once
from lra.results.rates import read_chosen
from lra.stats.summary import outcomes

TITLE = "Average rank over the tasks"
ALPHA = 0.05
# Friedman's test takes three models; Nemenyi's over two tasks separates no two models.
FEWEST = 3


def ranks(scores: Path) -> Figure:
    """Models by average rank, best at the left; bars join those that no test separates.

    Blocks are the tasks, of each the mean accuracy over seeds. Only models with every seed of every
    task take part. What is not above chance counts as chance, so that such models tie.
    """
    rows = counted_once(read_chosen(scores))
    values, left_out, tied = blocks(rows)
    tasks = list(values)
    models = [m for m in distinct(rows, "model") if m not in left_out]
    if len(models) < FEWEST or len(tasks) < FEWEST:
        return style.nothing(
            TITLE,
            f"Too few to rank: {len(models)} of the models have every task, and {len(tasks)} of "
            f"the tasks show a difference between them. A test needs {FEWEST} of both.",
        )
    table = np.array([[values[task][model] for model in models] for task in tasks])
    mean = dict(zip(models, rankdata(-table, axis=1).mean(axis=0), strict=True))
    chi2, p = map(float, friedmanchisquare(*table.T))
    width = critical_difference(len(models), len(tasks))
    figure = _diagram(table, models, mean, width)
    verdict = (
        "they differ."
        if p < ALPHA
        else "no difference is shown, and two models without a common bar show none either."
    )
    notes = [
        f"Friedman's test of {len(models)} models over {len(tasks)} tasks ({listed(tasks)}): "
        f"χ² = {chi2:.1f}, p = {p:.3g}: {verdict} Bars join models that Nemenyi's test does not "
        f"separate (p ≥ {ALPHA:g}); CD = {width:.2f} is the least difference of two average ranks "
        "that it does separate."
    ]
    if left_out:
        notes.append(f"Without every task, not ranked: {listed(left_out)}.")
    if tied:
        notes.append(f"No model is above chance, not counted: {listed(tied)}.")
    notes.append(style.run_text(rows))
    return style.finish(figure, [], [], notes)


def blocks(rows: list[dict]) -> tuple[dict[str, dict[str, float]], list[str], list[str]]:
    """Accuracy (percent) by task and model; the models left out, and the tasks where all tie."""
    cells = outcomes(rows)
    models, tasks = distinct(rows, "model"), distinct(rows, "task")
    finished = {cell for cell, ours in cells.items() if ours.finished}
    whole = [m for m in models if all((m, t) in finished for t in tasks)]
    chance = {r["task"]: r["chance"] for r in rows if r["status"] == "ok"}
    values = {t: {m: cells[m, t].number or chance[t] for m in whole} for t in tasks if whole}
    tied = [t for t, own in values.items() if len(set(own.values())) == 1]
    left_out = [m for m in models if m not in whole]
    return {t: own for t, own in values.items() if t not in tied}, left_out, tied


def critical_difference(models: int, tasks: int) -> float:
    """Of two average ranks, at 5 %, by Nemenyi's test (Demšar 2006, equation for CD)."""
    q = float(studentized_range.ppf(1 - ALPHA, models, np.inf)) / math.sqrt(2)
    return q * math.sqrt(models * (models + 1) / (6 * tasks))


def _diagram(table: np.ndarray, models: list[str], mean: dict, width: float) -> Figure:
    # Two seconds to import, which no other figure should pay.
    import scikit_posthocs
    from pandas import DataFrame

    p_values = scikit_posthocs.posthoc_nemenyi_friedman(DataFrame(table, columns=models))
    figure = style.blank(style.COLUMN, 1.4 + 0.1 * len(models))
    axes = figure.add_subplot()
    figure.suptitle(TITLE)
    looks = style.looks(models)
    scikit_posthocs.critical_difference_diagram(
        mean,
        p_values,
        alpha=ALPHA,
        ax=axes,
        label_fmt_left="{label} ({rank:.1f}) ",
        label_fmt_right=" ({rank:.1f}) {label}",
        label_props={"fontsize": style.SMALL},
        text_h_margin=0.08,
        marker_props={"s": 14},
        elbow_props={"linewidth": 0.9},
        color_palette={model: looks[model]["color"] for model in models},
    )
    axes.grid(False)
    for line in axes.lines:  # bars, whose models are in the order of a set: other bits each time
        if len(set(line.get_ydata())) == 1:
            line.set_xdata(sorted(line.get_xdata()))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for text in axes.texts:  # the paler colours cannot be read as letters
        text.set_color("0.1")
    # scikit-posthocs would draw it across the numbers of the axis.
    above = offset_copy(axes.transData, figure, y=26, units="points")
    axes.plot([1, 1 + width], [0, 0], "|-", color="0.1", lw=1.2, transform=above, clip_on=False)
    axes.annotate(
        f"CD = {width:.2f}", (1 + width / 2, 0), (0, 3), above, "offset points",
        ha="center", va="bottom", fontsize=style.SMALL,
    )  # fmt: skip
    return figure
