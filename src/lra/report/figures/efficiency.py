"""Speed and memory against sequence length."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lra.core.formats import BYTES, fitting_unit, listed, number, signed
from lra.core.unique import distinct, grouped, unique
from lra.report.figures import style
from lra.results.points import BUSY, MemoryRow, SpeedRow, busy, read_fast, setting_text
from lra.stats.summary import Exponent, fitted_exponent


def speed(speed: Path) -> Figure:
    """Training steps per second against sequence length, with the fitted exponents."""
    rows = read_fast(speed, SpeedRow)
    values = [r | {"value": r["train_steps_per_s"], "busy": busy(r)} for r in rows]
    for row in values:
        row |= {end: row[f"train_steps_per_s_{end}"] for end in ("low", "high")}
    return _against_length(values, "Training speed by sequence length", "training steps per second")


def memory(memory: Path) -> Figure:
    """Peak memory of the tensors in training against sequence length, with the fitted exponents."""
    rows = read_fast(memory, MemoryRow)
    unit, size = fitting_unit((r["peak_bytes"] for r in rows), BYTES, 0.1)
    values = [r | {"value": r["peak_bytes"] and r["peak_bytes"] / size} for r in rows]
    title = "Training memory by sequence length"
    return _against_length(values, title, f"peak memory of tensors ({unit})", lost_at_top=True)


def _draw_repeats(axes: Axes, rows: list[dict], colour: str) -> None:
    """The range of the repeats of each point, hollow where the machine was busy."""
    for row in rows:
        at = f"{row['model']}: length {row['length']:,} tokens"  # on hover
        if row.get("low") is not None:
            ends = [row["low"], row["high"]]
            said = f"{at}, repeats {number(ends[0])} to {number(ends[1])}"
            axes.plot([row["length"]] * 2, ends, "_-", gid=said, color=colour, lw=1, ms=4, zorder=2)
        if row.get("busy"):
            hollow = {"markerfacecolor": "white", "color": colour, "zorder": 4}
            said = f"{at}, {BUSY}"
            axes.plot([row["length"]], [row["value"]], "o", gid=said, ms=3, **hollow)


def _signed(fit: Exponent) -> str:
    return f"{signed(fit.value)} ± {fit.error:.2f}"


def _against_length(rows: list[dict], title: str, ylabel: str, lost_at_top: bool = False) -> Figure:
    """Lines of `value` by length, both logarithmic; crosses at the edge where a model has none."""
    if not rows:
        return style.nothing(title)
    lengths = sorted(distinct(rows, "length"))
    figure = style.blank(style.COLUMN, 3.2)
    axes = figure.add_subplot()
    axes.set(
        title=title, xlabel="sequence length (tokens)", ylabel=ylabel, xscale="log", yscale="log"
    )
    looks = style.looks(distinct(rows, "model"))
    names = []
    for (model,), own in grouped(rows, "model").items():
        ok = sorted((r for r in own if r["status"] == "ok"), key=lambda r: r["length"])
        x, y = [r["length"] for r in ok], [r["value"] for r in ok]
        axes.plot(x, y, **looks[model])
        _draw_repeats(axes, ok, looks[model]["color"])
        fit = fitted_exponent(x, y)
        names.append(f"{model} ({_signed(fit)})" if fit else model)
    lost = [
        r for r in sorted(rows, key=lambda r: (r["length"], r["status"])) if r["status"] != "ok"
    ]
    values = [r["value"] for r in rows if r["status"] == "ok"]
    room = 4.0 if lost else 1.4
    axes.set_xlim(style.log_limits(lengths, 1.2, 1.2))
    axes.set_ylim(style.log_limits(values, *((1.4, room) if lost_at_top else (room, 1.4))))
    style.ticks_at(axes.xaxis, lengths, lambda x: style.length_text(round(x)))
    style.log_ticks(axes.yaxis)
    for (length,), at_length in grouped(lost, "length").items():
        for place, ((status,), own) in enumerate(grouped(at_length, "status").items()):
            text = f"{len(own)} {status}" if len(own) > 1 else status
            y = 0.05 + 0.13 * place
            y, side = (1 - y, -1) if lost_at_top else (y, 1)
            style.cross(axes, length, y, axes.get_xaxis_transform(), text=text, side=side)
    settings = listed(unique(map(setting_text, rows)))
    notes = [f"{style.run_text(rows)} {settings[:1].upper()}{settings[1:]}."]
    if any(name not in looks for name in names):
        notes.append(
            "In parentheses: exponent of length by least squares on all lengths ± standard error."
        )
    if any(r.get("repeats") for r in rows):
        notes.append("Point: median of the repeats; bar: lowest to highest.")
    if any(r.get("busy") for r in rows):
        notes.append(f"Hollow: {BUSY}.")
    missing = [
        {
            "status": status,
            "models": listed(distinct(own, "model")),
            "at": style.length_text(length),
        }
        for (length, status), own in grouped(lost, "length", "status").items()
    ]
    notes += [
        f"× {status} at {listed(distinct(own, 'at'))}: {models}."
        for (status, models), own in grouped(missing, "status", "models").items()
    ]
    handles = [Line2D([], [], **look) for look in looks.values()]
    return style.finish(figure, handles, names, notes)
