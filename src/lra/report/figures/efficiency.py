"""Speed and memory against sequence length."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lra.core.unique import distinct
from lra.report.figures import style
from lra.results.records import MemoryRow, SpeedRow, read_table
from lra.stats.summary import fitted_exponent


def speed(speed: Path) -> Figure:
    """Training steps per second against sequence length, with the fitted exponents."""
    rows = read_table(speed, SpeedRow).to_pylist()
    values = [r | {"value": r["train_steps_per_s"]} for r in rows]
    return _against_length(values, "Training speed by sequence length", "training steps per second")


def memory(memory: Path) -> Figure:
    """Peak memory of the tensors in training against sequence length, with the fitted exponents."""
    rows = read_table(memory, MemoryRow).to_pylist()
    unit, size = style.unit([r["peak_bytes"] for r in rows if r["peak_bytes"]])
    values = [r | {"value": r["peak_bytes"] and r["peak_bytes"] / size} for r in rows]
    title = "Training memory by sequence length"
    return _against_length(values, title, f"peak memory of tensors ({unit})", lost_at_top=True)


def _against_length(rows: list[dict], title: str, ylabel: str, lost_at_top: bool = False) -> Figure:
    """Lines of `value` by length, both logarithmic; crosses at the edge where a model has none."""
    if not rows:
        return style.nothing(title)
    models, lengths = distinct(rows, "model"), sorted({r["length"] for r in rows})
    figure = style.blank(style.COLUMN, 3.2)
    axes = figure.add_subplot()
    axes.set(
        title=title, xlabel="sequence length (tokens)", ylabel=ylabel, xscale="log", yscale="log"
    )
    looks = style.looks(models)
    names, fitted = [], False
    for model in models:
        ok = sorted(
            (r["length"], r["value"]) for r in rows if r["model"] == model and r["status"] == "ok"
        )
        x, y = [length for length, _ in ok], [value for _, value in ok]
        axes.plot(x, y, **looks[model])
        exponent = f" ({fitted_exponent(x, y):+.2f})".replace("-", "−") if len(ok) >= 3 else ""
        names.append(model + exponent)
        fitted = fitted or len(ok) >= 3
    values = [r["value"] for r in rows if r["status"] == "ok"]
    lost = {}
    for r in rows:
        if r["status"] != "ok":
            lost.setdefault((r["length"], r["status"]), []).append(r["model"])
    room = 4.0 if lost else 1.4
    axes.set_xlim(style.log_limits(lengths, 1.2, 1.2))
    axes.set_ylim(style.log_limits(values, *((1.4, room) if lost_at_top else (room, 1.4))))
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: style.length_text(round(x))))
    axes.xaxis.set_minor_locator(NullLocator())
    style.log_ticks(axes.yaxis)
    for place, (length, status) in enumerate(sorted(lost)):
        count = len(lost[length, status])
        text = f"{count} {status}" if count > 1 else status
        height = 0.05 + 0.13 * sum(1 for n, _ in sorted(lost)[:place] if n == length)
        height = 1 - height if lost_at_top else height
        style.cross(
            axes,
            length,
            height,
            axes.get_xaxis_transform(),
            text=text,
            side=-1 if lost_at_top else 1,
        )
    notes = [style.run_text(rows)]
    notes += ["In parentheses: exponent of length, fitted by least squares."] if fitted else []
    together: dict[tuple[str, str], list[str]] = {}
    for (length, status), own in sorted(lost.items()):
        together.setdefault((status, ", ".join(own)), []).append(style.length_text(length))
    notes += [f"× {s} at {', '.join(where)}: {own}." for (s, own), where in together.items()]
    handles = [Line2D([], [], **looks[model]) for model in models]
    style.below(figure, handles, names, None, notes)
    style.settle(figure)
    return figure
