"""The required attention span of every model on every task."""

from __future__ import annotations

from pathlib import Path

from lra.core.formats import listed, number
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value, status
from lra.results.rates import read_chosen, read_of
from lra.results.records import SpanRow
from lra.stats.summary import summary

MEAN = -1  # the layer that stands for all


def span(span: Path, scores: Path) -> tuple[Table, list[dict]]:
    """The spans in tokens: means over layers and over seeds, of the cells of scores.parquet.

    A mean counts only where every seed is ok. Raises LRAError where experiments are mixed.
    """
    rows = [r for r in read_of(span, SpanRow, read_chosen(scores)) if r["layer"] == MEAN]
    if not rows:
        return NOTHING
    one_value(span, rows, "experiment")
    lines = [_line(own) for own in grouped(rows, "task", "model", "method").values()]
    return _table(lines, rows), lines


def _line(rows: list[dict]) -> dict:
    ok = [r for r in rows if r["status"] == "ok"]
    line = {key: rows[0][key] for key in ("experiment", "task", "model", "method")}
    line |= {"status": status(rows)}
    line |= dict.fromkeys(("span", "std", "low", "high", "relative"))
    if len(ok) == len(rows):
        spans = summary([r["span"] for r in ok])
        line |= {"span": spans.mean, "std": spans.std, "low": spans.low, "high": spans.high}
        shares = [r["relative"] for r in ok]
        line |= {"relative": None if None in shares else summary(shares).mean}
    line |= {"uniform": summary([r["uniform"] for r in rows]).mean}
    return line | {"samples": rows[0]["samples"], "n_ok": len(ok), "n_seeds": len(rows)}


def _table(lines: list[dict], rows: list[dict]) -> Table:
    tasks, seeds = distinct(rows, "task"), distinct(rows, "seed")
    uniform = {x["task"]: x["uniform"] for x in reversed(lines)}
    at = {(x["method"], x["model"], x["task"]): x for x in lines}
    table = []
    for method in sorted(distinct(rows, "method"), reverse=True):
        even = [Entry(number(uniform[task])) for task in tasks]
        table.append(Row("uniform attention", even, f"by {method}"))
        for model in distinct(rows, "model"):
            own = [at.get((method, model, task)) for task in tasks]
            if any(own):
                table.append(Row(model, [_entry(x) for x in own], f"by {method}"))
    over = f"mean ± standard deviation over seeds {listed(seeds)}"
    over = over if len(seeds) > 1 else f"seed {seeds[0]}"
    caption = (
        f"Experiment {lines[0]['experiment']}. Tokens between a query and what it reads, mean over "
        f"layers and {listed(distinct(rows, 'samples'))} validation examples, {over}; below, in "
        "relation to attention that weighs all tokens alike."
    )
    notes = [
        "By gradient: by each input's effect; by attention: by its weights, where it has some."
    ]
    if any(line["n_ok"] < line["n_seeds"] for line in lines):
        notes.append("No mean where a seed has no span.")
    return Table(caption, tasks, table, notes)


def _entry(line: dict | None) -> Entry:
    if line is None:
        return Entry("-")
    if line["span"] is None:
        return Entry(line["status"])
    text = number(line["span"]) + (f" ± {line['std']:.1f}" if line["std"] is not None else "")
    return Entry(text, "" if line["relative"] is None else f"{line['relative']:.2f}")
