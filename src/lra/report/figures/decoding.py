"""Decode speed and bytes of the state against the context."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import listed, number
from lra.core.unique import distinct, grouped
from lra.report.figures import style
from lra.results.points import DecodeRow
from lra.results.records import read_table

TITLE = "Decoding by context"
PANELS = {"decode_tokens_per_s": "decode, tokens/s", "state_bytes": "state of one sequence"}


def decoding(decode: Path) -> Figure:
    """A line a model, medians with the quartiles of the repeats; all axes are logarithmic."""
    rows = sorted(read_table(decode, DecodeRow).to_pylist(), key=lambda row: row["length"])
    ok = [row for row in rows if row["status"] == "ok"]
    if not ok:
        return style.nothing(TITLE)
    figure, axes = style.panels(TITLE, list(PANELS.values()), 2.8, "context (tokens)")
    looks = style.looks(distinct(ok, "model"))
    contexts = distinct(rows, "length")
    for panel, column in zip(axes, PANELS, strict=True):
        panel.set(xscale="log", yscale="log")
        for (model,), own in grouped(ok, "model").items():
            panel.plot([r["length"] for r in own], [r[column] for r in own], **looks[model])
        panel.set_xlim(style.log_limits(contexts, 1.2, 1.2))
        below = 4.0 if len(ok) < len(rows) else 1.4  # room for crosses
        panel.set_ylim(style.log_limits([row[column] for row in ok], below))
        style.ticks_at(panel.xaxis, contexts, lambda n: style.length_text(round(n)))
    speed, state = axes
    style.log_ticks(speed.yaxis)
    _draw_quartiles(speed, ok, looks)
    for (status, length), own in _lost(rows).items():
        text = f"{len(own)} {status}" if len(own) > 1 else status
        style.cross(speed, length, 0.05, speed.get_xaxis_transform(), text=text)
    style.bytes_ticks(state.yaxis)
    handles = [Line2D([], [], **look) for look in looks.values()]
    return style.finish(figure, handles, list(looks), _notes(rows))


def _draw_quartiles(axes: Axes, rows: list[dict], looks: dict[str, dict]) -> None:
    for row in rows:
        ends = [row["decode_tokens_per_s_low"], row["decode_tokens_per_s_high"]]
        said = f"{row['model']}: context {row['length']:,} tokens, "  # on hover
        said += f"quartiles {number(ends[0])} to {number(ends[1])}"
        colour = looks[row["model"]]["color"]
        axes.plot([row["length"]] * 2, ends, "_-", gid=said, color=colour, lw=1, ms=4, zorder=2)


def _notes(rows: list[dict]) -> list[str]:
    notes = [style.run_text(rows), "Point: median of the repeats; bar: their quartiles."]
    ok = [row for row in rows if row["status"] == "ok"]
    sizes = [
        {"model": model, "sizes": tuple(row["state_bytes"] for row in own)}
        for (model,), own in grouped(ok, "model").items()
    ]
    alike = [listed(distinct(own, "model")) for own in grouped(sizes, "sizes").values() if own[1:]]
    notes += [f"States of the same size, on one line: {models}." for models in alike]
    for (status, length), own in _lost(rows).items():
        models = listed(distinct(own, "model"))
        notes.append(f"× {status} at {style.length_text(length)}: {models}.")
    return notes


def _lost(rows: list[dict]) -> dict[tuple, list[dict]]:
    return grouped((row for row in rows if row["status"] != "ok"), "status", "length")
