"""Right answers against the bytes of a model's state: one panel a task of table `recall`."""

from __future__ import annotations

from pathlib import Path

import textalloc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.asked import asking
from lra.report.figures import style
from lra.report.notes import not_ok
from lra.results.rates import chosen, sweeps
from lra.results.records import ScoreRow, read_table

TITLE = "Right answers by size of the state"
NO_STATES = "No model with a state was asked for some of the tokens alone."
ROOM = 6.0  # percent above and below the accuracies, for the names


def recall(scores: Path) -> Figure:
    """Mean over seeds at the chosen learning rate; a bar from the worst to the best rate's mean.

    State: of one sequence of the task's length, in all layers. Only of models that have one.
    """
    every = asking(read_table(scores, ScoreRow).to_pylist())
    rows, found = chosen(every), sweeps(every)
    ends = {(each.task, each.model): [*each.mean("accuracy").values()] for each in found}
    points = [_point(own, ends.get(key, [])) for key, own in grouped(rows, "task", "model").items()]
    drawn = [each for each in points if each["accuracy"] is not None and each["bytes"]]
    if not drawn:
        return style.nothing(TITLE, NO_STATES)
    tasks, looks = distinct(drawn, "task"), style.looks(distinct(drawn, "model"))
    names = "state of one sequence", "right answers (%)"
    figure, panels = style.panels(TITLE, tasks, 2.8, *names)
    for axes, task in zip(panels, tasks, strict=True):
        own = [each for each in drawn if each["task"] == task]
        axes.set_xscale("log")
        axes.set_xlim(style.log_limits([each["bytes"] for each in own]))
        values = [value for each in own for value in (each["lowest"], each["highest"])]
        low, high = min(values) - ROOM, max(values) + ROOM
        axes.set_ylim(low, high)
        axes.set_yticks([y for y in axes.get_yticks() if max(low, 0) <= y <= min(high, 100)])
        style.bytes_ticks(axes.xaxis)
        for each in own:
            color = looks[each["model"]]["color"]
            axes.plot([each["bytes"]] * 2, [each["lowest"], each["highest"]], color=color, lw=1)
            look = looks[each["model"]] | {"linestyle": "none"}
            axes.plot([each["bytes"]], [each["accuracy"]], **look, zorder=3)
    handles = [Line2D([], [], **look | {"linestyle": "none"}) for look in looks.values()]
    style.finish(figure, handles, list(looks), _notes(points, rows, bool(found)))
    for axes, task in zip(panels, tasks, strict=True):
        _name(axes, [each for each in drawn if each["task"] == task])
    return figure


def _point(rows: list[dict], of_rates: list[float]) -> dict:
    """One model on one task; of_rates: the mean accuracy at each rate of its sweep that is ok."""
    point = {"task": rows[0]["task"], "model": rows[0]["model"], "bytes": rows[0]["state_bytes"]}
    point |= dict.fromkeys(("accuracy", "lowest", "highest"))
    if all(row["status"] == "ok" for row in rows):
        mean = sum(row["accuracy"] for row in rows) / len(rows)
        values = [mean, *of_rates]
        point |= {"accuracy": mean, "lowest": min(values), "highest": max(values)}
    return point


def _name(axes: Axes, points: list[dict]) -> None:
    """The models' names beside their marks, clear of marks and bars. The layout must be final."""
    x, y = ([each[key] for each in points] for key in ("bytes", "accuracy"))
    bars = [[each["lowest"], each["highest"]] for each in points]
    textalloc.allocate(
        axes, x, y, [each["model"] for each in points], x_scatter=x, y_scatter=y,
        x_lines=[[value] * 2 for value in x], y_lines=bars, textsize=style.SMALL, margin=0.01,
        min_distance=0.015, max_distance=0.4, linewidth=0.6, linecolor="0.4",
    )  # fmt: skip


def _notes(points: list[dict], rows: list[dict], swept: bool) -> list[str]:
    notes = ["Mark: mean over seeds at the learning rate that validation chose."]
    if swept:
        notes[0] += (
            " Bar: from the worst rate's mean to the best one's, of those with all seeds ok."
        )
    without = [each for each in points if each["accuracy"] is not None and not each["bytes"]]
    said = distinct(without, "model")
    if len(distinct(points, "task")) == 1:
        said = [f"{each['model']} {each['accuracy']:.1f} %" for each in without]
    notes += [f"Without a state, so not drawn: {listed(said)}."] if without else []
    lost = [(each["task"], each["model"]) for each in points if each["accuracy"] is None]
    return [*notes, *not_ok(lost), style.run_text(rows)]
