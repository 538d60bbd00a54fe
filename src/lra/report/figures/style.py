"""What all figures share: style, each model's look, and the legend and notes below the axes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerLine2D
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Transform

from lra.core.formats import BYTES, fitting_unit, listed
from lra.core.unique import distinct
from lra.report.colours import contrast
from lra.report.figures import NOTES, NOTHING

COLUMN, PAGE = 3.5, 7.0  # inches: widths of a figure, those of a journal's column and page
SMALL = 6.5  # points: the smallest text
CROSS = 6.0  # points: size of the cross that marks a missing value
STYLE = {
    **sns.axes_style("whitegrid"),
    **sns.plotting_context("paper"),
    "font.family": ["DejaVu Sans"],
    "axes.titlesize": 8.5,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "figure.titlesize": 9,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "grid.color": "0.9",
    "figure.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, as publishers ask
    "svg.fonttype": "none",
    "svg.hashsalt": "lra",
}
RING = {"marker": "o", "markersize": 9, "linestyle": "none", "markerfacecolor": "none"}
RING |= {"markeredgecolor": "0.2", "markeredgewidth": 1}
CHANCE = {"color": "0.3", "linestyle": (0, (4, 3)), "linewidth": 1}  # also uniform attention
RUN = {"experiment": "experiment", "protocol": "protocol", "batch_size": "batch size"}
RUN |= {"seed": "seed", "device": "on"}
NOTE = {"fontsize": SMALL, "color": "0.25", "linespacing": 1.3}
NOTE_CHARACTER = 0.05  # inches, of the mean one
# A model keeps its look from figure to figure: the paper's come first, whichever are there.
ORDER = ["transformer", "local", "sparse", "longformer", "linformer", "reformer", "sinkhorn"]
ORDER += ["synthesizer", "bigbird", "linear", "performer", "transformer-materialised"]
ORDER += ["image", "routing", "set", "xl", "compressive", "nystrom"]
ORDER += ["rotary", "s4d", "s5", "mega", "mamba2", "retention", "deltanet", "mingru"]
ORDER += ["conv", "mean", "identity"]
# Seaborn's colours for the colour-blind, less the pale ones, and dark ones of Paul Tol's.
_SAFE = sns.color_palette("colorblind").as_hex()
COLOURS = ["#191919", *_SAFE[:3], "#332288", *_SAFE[4:6], "#999933", _SAFE[9], _SAFE[3]]
COLOURS += ["#882255", _SAFE[7], "#6699cc", "#661100", "#117733", "#aa4499", "#997700", "#44aa99"]
COLOURS += ["#4d4d4d", "#5e4fa2", "#7f6a5f"]
MARKERS = "os^DvPX<>phd*"
THIN = {"P": 6.0, "X": 6.0, "*": 8.0}  # points: size of those that look smaller than they are
DASHES = ["-", "--", "-.", ":"]


def looks(models: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and dashes of each model, as arguments of `plot`; no two are the same.

    A colour is of one model alone, so that its marks are found by it (marks.py). Where the palette
    is used again, the blue is brighter by what nobody sees.
    """
    others = sorted(set(models) - set(ORDER))
    number = {model: i for i, model in enumerate(ORDER + others)}
    return {
        model: {
            "color": _colour(number[model]),
            "marker": (marker := MARKERS[number[model] % len(MARKERS)]),
            "markersize": THIN.get(marker, STYLE["lines.markersize"]),
            "linestyle": DASHES[number[model] % len(DASHES)],
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
        }
        for model in models
    }


def _colour(number: int) -> str:
    again, place = divmod(number, len(COLOURS))
    return f"#{int(COLOURS[place][1:], 16) + again:06x}"


def nothing(title: str, why: str = "Nothing was measured.") -> Figure:
    """A figure without data, with the sentence that says why. The page shows only that."""
    figure = blank(COLUMN, 1.3)
    figure.suptitle(title)
    lines = _filled(why, int(0.9 * COLUMN / NOTE_CHARACTER))
    figure.text(0.5, 0.42, lines, ha="center", va="center", gid=NOTHING, **NOTE)
    return figure


def panels(
    title: str, names: Sequence[str], height: float, x: str, y: str = "", sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of one panel a name, up to three beside each other, four two by two.

    height: of each, in inches. x, y: labels of the axes, written at the bottom and at the left.
    """
    rows = math.ceil(len(names) / 3)
    columns = math.ceil(len(names) / rows)  # four are two by two
    figure = blank(PAGE if columns > 1 else COLUMN, 0.4 + height * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).flat)
    figure.suptitle(title)
    for panel in axes[len(names) :]:
        panel.remove()
    for number, (panel, name) in enumerate(zip(axes, names, strict=False)):
        panel.set_title(name)
        panel.set_xlabel(x if number + columns >= len(names) else "")
        panel.set_ylabel("" if number % columns else y)
    return figure, axes[: len(names)]


def panels_of_rows(
    title: str, names: Sequence[str], models: Sequence[str], room: float, x: str
) -> tuple[Figure, list[Axes]]:
    """`panels` with a row for each model, the first at the top; `room`: inches for the rest."""
    figure, axes = panels(title, names, room + 0.17 * len(models), x, sharey=True)
    for panel in axes:
        panel.set_yticks(range(len(models)), models)
        panel.set_ylim(len(models) - 0.4, -0.6)
        panel.grid(axis="y", linewidth=0.5)
    return figure, axes


class CentredDisc(HandlerLine2D):
    """A legend's large marker at the height of its text, where matplotlib puts it above."""

    def create_artists(self, legend, handle, xdescent, ydescent, width, height, fontsize, trans):
        artists = super().create_artists(
            legend, handle, xdescent, ydescent, width, height, fontsize, trans
        )
        for artist in artists:
            artist.set_ydata([0.35 * fontsize] * len(artist.get_ydata()))
        return artists


def letters_on_cells(axes: Axes) -> None:
    """White or black for each text in a heat map, whichever has more contrast on its cell."""
    (mesh,) = axes.collections
    cells = mesh.to_rgba(mesh.get_array())
    for text in axes.texts:
        column, row = map(int, text.get_position())
        ground = to_hex(cells[row, column])
        # not quite black, which an SVG would leave to the page
        text.set_color(max(("#ffffff", "#010101"), key=lambda colour: contrast(colour, ground)))


def blank(width: float, height: float) -> Figure:
    """A figure of that many inches, outside pyplot, which would keep it in memory."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def finish(
    figure: Figure,
    handles: Sequence[Artist],
    names: Sequence[str],
    notes: Sequence[str],
    title: str | None = None,
    largest: float = 0.0,
) -> Figure:
    """Add a legend and notes under the axes, by whose height the figure grows, and fix the layout.

    `largest` is the size in points of the largest handle, where it is not a piece of a line.
    """
    width, height = figure.get_size_inches()
    columns = int(width / NOTE_CHARACTER)
    text = figure.text(0, 0, "\n".join(_filled(n, columns) for n in notes if n), **NOTE)
    note = _inches(figure, text) + 0.08
    text.set_gid(f"{NOTES}{72 * note:.2f}")
    legend = None
    for count in range(min(len(names), 4), 0, -1):
        if legend:
            legend.remove()
        legend = figure.legend(
            handles,
            names,
            title=title,
            ncols=count,
            loc="lower center",
            frameon=False,
            borderaxespad=0,
            labelspacing=0.35,
            columnspacing=1.2,
            handler_map={Line2D: CentredDisc()} if largest else None,
            handlelength=max(3.0, 1.1 * largest / STYLE["legend.fontsize"]),
            handleheight=max(0.7, 1.3 * largest / STYLE["legend.fontsize"]),
        )
        extent = legend.get_window_extent(figure.canvas.get_renderer())
        if extent.width <= (width - 0.1) * figure.dpi:
            break
    legends = _inches(figure, legend) + 0.06 if legend else 0
    total = height + note + legends
    figure.set_size_inches(width, total)
    text.set_position((0.06 / width, 0.06 / total))
    if legend:
        legend.set_bbox_to_anchor((0.5, note / total))
    figure.get_layout_engine().set(rect=(0, (note + legends) / total, 1, height / total))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is placed by pixels stays in place
    for axes in figure.axes:  # the solver's last bits differ from process to process
        place = axes.get_position(original=True).bounds
        axes.set_position([round(float(share), 9) for share in place])
    return figure


def log_ticks(axis: Axis) -> None:
    """Ticks at 1, 2, 5, 10, ... as plain numbers on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_locator(NullLocator())


def bytes_ticks(axis: Axis) -> None:
    """Ticks at decades of a logarithmic axis of bytes, as 10 kB; on a short one also at 2 and 5."""
    low, high = axis.get_view_interval()
    decades = [10.0**power for power in range(13) if low <= 10.0**power <= high]
    between = [step * 10.0**power for power in range(13) for step in (1, 2, 5)]
    short = [size for size in between if low <= size <= high]
    ticks_at(axis, decades if len(decades) > 1 else short, _bytes_text)


def _bytes_text(size: float) -> str:
    unit, scale = fitting_unit([size], {"B": 1.0, "kB": 1e3} | BYTES)
    return f"{size / scale:g} {unit}"


def ticks_at(axis: Axis, values: Sequence[float], text: Callable[[float], str]) -> None:
    """Ticks at these values alone, with their texts."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(value)))
    axis.set_minor_locator(NullLocator())


def log_limits(values: Sequence[float], below: float = 1.4, above: float = 1.4) -> tuple:
    """Limits of a logarithmic axis around positive values, by factors of their ends."""
    low, high = (min(values), max(values)) if values else (1.0, 10.0)
    more = 1.6 if high < 3 * low else 1.0  # otherwise hardly a tick would be in sight
    return low / below / more, high * above * more


def cross(
    axes: Axes,
    x: float,
    y: float,
    transform: Transform,
    colour="0.2",
    text: str = "",
    side: int = 1,
) -> None:
    """Mark a missing value, with a word above (`side` 1) or below it (-1)."""
    axes.plot(
        [x], [y], "x", ms=CROSS, mew=1.6, color=colour, transform=transform, clip_on=False, zorder=5
    )
    if text:
        axes.annotate(
            text,
            (x, y),
            (0, side * CROSS),
            transform,
            "offset points",
            ha="center",
            va="bottom" if side > 0 else "top",
            fontsize=SMALL,
            zorder=5,
        )


def run_text(rows: Sequence[dict]) -> str:
    """The run that a figure shows: experiment, protocol, seeds and device, where rows have them."""
    parts = []
    for column, word in RUN.items():
        values = distinct((row for row in rows if column in row), column)
        plural = "s" if column == "seed" and len(values) > 1 else ""
        parts += [f"{word}{plural} {listed(values)}"] if values else []
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def length_text(length: int) -> str:
    """1K for 1,024 tokens, as in the paper."""
    return f"{length // 1024}K" if length % 1024 == 0 else str(length)


def round_numbers(values: Sequence[float], count: int = 3) -> list[float]:
    """Up to `count` numbers of the series 1, 2, 5, 10, ... spread over the range of the values.

    The largest value itself, where no round number lies in the range.
    """
    if not values:
        return []
    low, high = min(values), max(values)
    exponents = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    inside = [d * 10.0**e for e in exponents for d in (1, 2, 5) if low <= d * 10.0**e <= high]
    if len(inside) <= count:
        return inside or [high]
    return [inside[round(i * (len(inside) - 1) / (count - 1))] for i in range(count)]


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False)  # the page joins the lines


def _inches(figure: Figure, artist: Artist) -> float:
    return artist.get_window_extent(figure.canvas.get_renderer()).height / figure.dpi
