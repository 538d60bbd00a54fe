"""Accuracy by how far a token sees in a layer, and the span that each task requires."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lra.config.cell import Cell, read
from lra.core.formats import decimals, listed, number, signed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value, status
from lra.results import layout
from lra.results.rates import cell_file, read_chosen, read_of
from lra.results.records import SpanRow
from lra.stats.reach import NO_WINDOWS, SHARE, Windows, windows
from lra.stats.summary import summary

PERCENT = f"{100 * SHARE:g} %"


def reach(scores: Path, span: Path, cells: Path) -> tuple[Table, list[dict]]:
    """The required span of each task in scores.parquet, beside the spans in span.parquet.

    cells: the experiment's folder, whose configurations say how long the sequences are. Raises
    LRAError where experiments are mixed.
    """
    rows = read_chosen(scores)
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    by_task = {task: own for (task,), own in grouped(rows, "task").items()}
    found = {task: windows(own) for task, own in by_task.items()}
    if not any(found.values()):
        return Table(NO_WINDOWS, [], [], []), []
    spans = [
        row
        for row in read_of(span, SpanRow, rows)
        if row["layer"] == -1 and row["model"] == "transformer"  # the one whose span is the paper's
    ]
    lengths = {task: _length(own[0], cells) for task, own in by_task.items()}
    lines = [
        _line(task, each, lengths[task], [r for r in spans if r["task"] == task])
        for task, own in found.items()
        for each in own
    ]
    return _table(lines, by_task, found, spans, lengths), lines


def _length(row: dict, root: Path) -> int | None:
    """The longest input of a cell in tokens; None where its configuration is not there."""
    path = cell_file(root, layout.CONFIG, row)
    return read(Cell, str(path)).encoder.max_len if path.exists() else None


def _line(task: str, own: Windows, length: int | None, spans: list[dict]) -> dict:
    first, found = own.floor[0], own.required()
    line = {"experiment": first["experiment"], "task": task, "mechanism": own.mechanism}
    line |= {"length": length, "without": first["model"], "widest": own.widest}
    line |= {"verdict": found.verdict, "required": found.tokens}
    line |= dict.fromkeys(("gain", "low", "high"))
    if found.gain:
        line |= {"gain": found.gain.mean, "low": found.gain.low, "high": found.gain.high}
    seeds = [own.required(seed) for seed in distinct(own.floor, "seed")]
    line |= {"by_seed": listed(each.tokens or each.verdict for each in seeds)}
    for method in ("attention", "gradient"):
        of = [r for r in spans if r["method"] == method]
        line[f"span_{method}"] = _mean(of, "span")
    return line | {"span_uniform": _mean(spans, "uniform")}


def _mean(rows: list[dict], column: str) -> float | None:
    """None where there is no row, or a seed is not ok."""
    if not rows or any(row["status"] != "ok" for row in rows):
        return None
    return summary([row[column] for row in rows]).mean


def _table(
    lines: list[dict],
    by_task: dict[str, list[dict]],
    found: dict[str, list[Windows]],
    spans: list[dict],
    lengths: dict[str, int | None],
) -> Table:
    tasks, rows = list(by_task), [row for own in by_task.values() for row in own]
    at = {(line["mechanism"], line["task"]): line for line in lines}
    mechanisms = distinct(lines, "mechanism")
    group = f"required span: the smallest window with {PERCENT} of the gain (tokens on either side)"
    table = [Row(m, [_required(at.get((m, task))) for task in tasks], group) for m in mechanisms]
    for method in sorted(distinct(spans, "method")):
        of = grouped((r for r in spans if r["method"] == method), "task")
        entries = [_span(of.get((task,))) for task in tasks]
        table.append(Row("transformer", entries, f"mean span by {method} (tokens)"))
    cells = grouped(rows, "model", "task")
    for model in _ordered(rows, mechanisms):
        entries = [_accuracy(cells.get((model, task)), found[task]) for task in tasks]
        table.append(Row(model, entries, "test accuracy (%)"))
    columns = [task + (f"\n{lengths[task]:,} tokens" if lengths[task] else "") for task in tasks]
    return Table(_caption(rows, mechanisms), columns, table, _notes(lines, spans), "model")


def _caption(rows: list[dict], mechanisms: list[str]) -> str:
    widths = {row["model"]: row["reach"] for row in rows if row["mechanism"] in mechanisms}
    some = [f"{model} {width}" for model, width in sorted(widths.items(), key=lambda x: x[1] or 0)]
    seeds = distinct(rows, "seed")
    over = f"mean ± standard deviation over seeds {listed(seeds)}"
    return (
        f"Experiment {rows[0]['experiment']}, protocol {listed(distinct(rows, 'protocol'))}. The "
        "same encoder where in each layer a token sees itself and its neighbours within a window: "
        f"{listed(some)} tokens on either side. Accuracy: "
        f"{over if len(seeds) > 1 else f'seed {seeds[0]}'}; below, its share of the widest "
        "window's gain."
    )


def _notes(lines: list[dict], spans: list[dict]) -> list[str]:
    floor = listed(distinct(lines, "without"))
    notes = [
        f"Gain: points of the widest window above {floor}, which mixes no tokens, by means over "
        "seeds; in brackets its 95 % interval, over seeds from three on, else over test examples. "
        "None needed: the interval does not lie above 0.",
        "With several layers a token depends on tokens within layers × window. Pooling joins all "
        "tokens after the last layer in every row, so it is no part of the window.",
        f"{floor} has no queries and keys, so it is smaller than the others.",
    ]
    if spans:
        notes.append(
            "A mean span weighs the distances by how much is read from there; a window is the "
            "largest distance. Uniform attention: "
            + listed(f"{x['task']} {number(x['span_uniform'])}" for x in lines if x["span_uniform"])
            + "."
        )
    narrow = [x["task"] for x in lines if x["length"] and x["widest"] < x["length"] - 1]
    if narrow:
        notes.append(f"The widest window does not hold the longest input: {listed(narrow)}.")
    if any(line["verdict"] == "incomplete" for line in lines):
        notes.append("Incomplete: a seed that counts is not ok.")
    return notes


def _ordered(rows: list[dict], mechanisms: Sequence[str]) -> list[str]:
    """Models: those without mixing, then windows from narrow to wide, then all others."""
    known = {row["model"]: row for row in rows}

    def place(model: str) -> tuple[int, int]:
        width, of = known[model]["reach"], known[model]["mechanism"]
        if width == 0:
            return 0, 0
        return (1 + mechanisms.index(of), width) if width and of in mechanisms else (99, 0)

    return sorted(known, key=place)


def _required(line: dict | None) -> Entry:
    if line is None:
        return Entry("-")
    if line["gain"] is None:
        return Entry(line["verdict"])
    ends = f"[{signed(line['low'], 1)}, {signed(line['high'], 1)}]"
    text = str(line["required"] or line["verdict"])
    return Entry(text, f"gain {signed(line['gain'], 1)} {ends}\nby seed: {line['by_seed']}")


def _span(rows: list[dict] | None) -> Entry:
    if rows is None:
        return Entry("-")
    return Entry(status(rows) if (mean := _mean(rows, "span")) is None else number(mean))


def _accuracy(rows: list[dict] | None, found: list[Windows]) -> Entry:
    if rows is None:
        return Entry("-")
    if any(row["status"] != "ok" for row in rows):
        return Entry(status(rows))
    own = summary([row["accuracy"] for row in rows])
    text = f"{own.mean:.{decimals(rows[0]['n_test'])}f}"
    text += f" ± {own.std:.1f}" if own.std is not None else ""
    for each in found:
        needed = each.required()
        if rows[0] in each.at.get(rows[0]["reach"], []) and needed.verdict == "ok":
            floor = summary([row["accuracy"] for row in each.floor]).mean
            return Entry(text, f"{100 * (own.mean - floor) / needed.gain.mean:.0f} %")
    return Entry(text)
