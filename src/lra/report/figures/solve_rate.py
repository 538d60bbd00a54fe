"""Solved examples against what generation costs: two panels a task, a line a model and sampler."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.figures import style
from lra.report.notes import not_ok
from lra.results.generations import NOTHING, GenerationRow
from lra.results.rates import read_chosen, read_of

TITLE = "Solved examples by the cost of generation"
UNKNOWN = "Nothing was generated that is right or wrong."
COSTS = {"evaluations": "network evaluations", "token_evaluations": "tokens through the network"}
# of a sampler, over its model's colour and marker
LINES = {
    "autoregressive": {"linestyle": "none", "zorder": 4},
    "confidence": {"linestyle": "-"},
    "random": {"linestyle": ":"},
    "blocks": {"linestyle": "--", "linewidth": 0.6, "markersize": 2.5},
}


def solve_rate(generate: Path, scores: Path) -> Figure:
    """Mean over the seeds, where all are ok; of tasks whose examples can be solved.

    Of a sweep of learning rates those that scores.parquet chooses.
    """
    rows = read_of(generate, GenerationRow, read_chosen(scores))
    lost = grouped((row for row in rows if row["status"] != "ok"), "task", "model")
    whole = [row for row in rows if (row["task"], row["model"]) not in lost]
    known = [row for row in whole if row["solved"] is not None]
    if not known:
        return style.nothing(TITLE, UNKNOWN if rows else NOTHING)
    tasks = distinct(known, "task")
    rows = [row for row in rows if row["task"] in tasks]
    looks = style.looks(distinct(rows, "model"))
    figure = style.blank(style.PAGE, 0.4 + 2.1 * len(tasks))
    figure.suptitle(TITLE)
    grid = figure.subplots(len(tasks), 2, squeeze=False, sharey=True)
    for panels, task in zip(grid, tasks, strict=True):
        panels[0].set_ylabel("solved (%)")
        for panel, cost in zip(panels, COSTS, strict=True):
            panel.set_title(task)
            panel.set_ylim(-5, 105)
            _task(panel, [row for row in known if row["task"] == task], cost, looks)
    for panel, name in zip(grid[-1], COSTS.values(), strict=True):
        panel.set_xlabel(name)
    samplers = [sampler for sampler in LINES if sampler in distinct(rows, "sampler")]
    handles = [Line2D([], [], **look | {"linestyle": "none"}) for look in looks.values()]
    lines = [sampler for sampler in samplers if sampler != "autoregressive"]
    handles += [Line2D([], [], color="0.3", **LINES[sampler]) for sampler in lines]
    return style.finish(figure, handles, [*looks, *lines], _notes(rows, samplers, lost))


def _task(panel: Axes, rows: list[dict], cost: str, looks: dict[str, dict]) -> None:
    shown = []
    for (model, sampler, _), of in grouped(rows, "model", "sampler", "block").items():
        means = [
            [sum(row[key] for row in own) / len(own) for key in (cost, "solved")]
            for own in grouped(of, "steps").values()
        ]
        x, y = zip(*means, strict=True)
        panel.plot(x, y, **looks[model] | LINES[sampler])
        shown += x
    panel.set_xscale("log", base=2)
    low, high = style.log_limits(shown, 1.2, 1.2)
    panel.set_xlim(low, high)
    ticks = [2**power for power in range(64) if low <= 2**power <= high]
    style.ticks_at(panel.xaxis, ticks[:: 1 + len(ticks) // 9], "{:,g}".format)


def _notes(rows: list[dict], samplers: list[str], lost: dict[tuple, list[dict]]) -> list[str]:
    notes = [
        "Costs are means of an example: evaluations of the network one after the other, and tokens "
        "that went through it in all of them."
    ]
    if "autoregressive" in samplers:
        notes.append("A mark without a line: autoregressive, by a state.")
    if "blocks" in samplers:
        sizes = listed(sorted({row["block"] for row in rows if row["block"]}))
        notes.append(f"Blocks: by confidence within blocks of {sizes} missing tokens, a line each.")
    return [*notes, *not_ok(lost), style.run_text(rows)]
