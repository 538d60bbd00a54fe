"""Bits for each token against its position in the window: one panel a task, objective and length
of the windows.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.asked import asking
from lra.report.figures import style
from lra.report.notes import not_ok, not_read_so_long
from lra.results.baselines import BaselineRow
from lra.results.rates import read_chosen, read_of
from lra.results.records import PartRow, in_bits, read_table

TITLE = "Bits for each token by its position"
TRAINED = {"color": "0.3", "linestyle": ":", "linewidth": 1}


def bits(parts: Path, scores: Path, baselines: Path) -> Figure:
    """Mean over the seeds that are ok; of tasks all of whose tokens are predicted."""
    cells = read_chosen(scores)
    rows = read_of(parts, PartRow, cells)
    some = distinct(asking(cells), "task")
    rows = [row for row in rows if row["by"] == "position" and row["task"] not in some]
    if not rows:
        return style.nothing(TITLE, "No task has all of its tokens predicted.")
    own_cells = [cell for cell in cells if cell["task"] in distinct(rows, "task")]
    rows = [row | {"times": row["times"] or 1} for row in rows]
    panels = grouped(rows, "times", "task", "objective")
    names = [
        f"{task}, {objective}" + f", {times} times as long" * (times > 1)
        for times, task, objective in panels
    ]
    figure, axes = style.panels(TITLE, names, 2.4, "position in the window", "bits", sharey=True)
    looks = style.looks(distinct(rows, "model"))
    floors = _floors(baselines, distinct(rows, "task"))
    for panel, ((times, task, _), own) in zip(axes, panels.items(), strict=True):
        for (model,), of in grouped(own, "model").items():
            by_end = {end: each for (end,), each in grouped(of, "last").items()}
            means = [sum(in_bits(r["loss"]) for r in each) / len(each) for each in by_end.values()]
            panel.plot(list(by_end), means, **looks[model])
        if task in floors:
            panel.axhline(floors[task][1], **style.CHANCE)
        ends = distinct(own, "last")
        if times > 1:
            panel.axvline(max(ends) / times, **TRAINED)
        panel.set_xscale("log", base=2)
        style.ticks_at(panel.xaxis, ends[:: 1 + len(ends) // 9], "{:,g}".format)
    handles = [Line2D([], [], **look) for look in looks.values()]
    labels = list(looks)
    if floors:
        handles.append(Line2D([], [], **style.CHANCE))
        labels.append("without a network")
    if any(times > 1 for times, *_ in panels):
        handles.append(Line2D([], [], **TRAINED))
        labels.append("length in training")
    return style.finish(figure, handles, labels, _notes(rows, own_cells, floors))


def _floors(path: Path, tasks: list[str]) -> dict[str, tuple[str, float]]:
    """By task: the best that needs no network, and its bits."""
    rows = [
        row
        for row in read_table(path, BaselineRow).to_pylist()
        if row["bits"] is not None and row["task"] in tasks
    ]
    best = {
        task: min(own, key=lambda row: row["bits"])
        for (task,), own in grouped(rows, "task").items()
    }
    return {task: (row["kind"], row["bits"]) for task, row in best.items()}


def _notes(rows: list[dict], cells: list[dict], floors: dict[str, tuple[str, float]]) -> list[str]:
    notes = [
        "A mark is the mean over the positions after the mark before it, up to its own; masked: an "
        "upper bound."
    ]
    said = (f"{task} {kind} {value:.2f}" for task, (kind, value) in floors.items())
    notes += [f"Without a network: {listed(said)} bits."] if floors else []
    lost = grouped((c for c in cells if c["status"] != "ok"), "task", "model")
    return [*notes, *not_read_so_long(cells), *not_ok(lost), style.run_text(cells)]
