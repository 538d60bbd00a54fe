"""What each sampler solves, at which cost: a row a model, and all numbers of steps in the csv."""

from __future__ import annotations

from pathlib import Path

from lra.core.formats import listed, number
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import one_value, status
from lra.results.generations import NOTHING, GenerationRow
from lra.results.rates import read_chosen, read_of
from lra.stats.summary import summary

COLUMNS = ["best", "sampler", "one step", "one token a step", "right tokens", "tokens/s"]
KEY = ("task", "model", "sampler", "block", "steps")
MEANS = ("solved", "right", "bits", "evaluations", "token_evaluations", "tokens_per_s")


def order(generate: Path, scores: Path) -> tuple[Table, list[dict]]:
    """Of generate.parquet, at the rates that scores.parquet chooses.

    A mean counts only where every seed is ok. Raises LRAError where experiments are mixed.
    """
    rows = read_of(generate, GenerationRow, read_chosen(scores))
    if not rows:
        return Table(NOTHING, [], [], []), []
    one_value(generate, rows, "experiment", "protocol")
    cells = grouped(rows, "task", "model", "seed")
    seeds = grouped((own[0] for own in cells.values()), "task", "model")
    lines = [_line(own, seeds[key[:2]]) for key, own in grouped(rows, *KEY).items()]
    return _table(lines, rows), lines


def _line(rows: list[dict], seeds: list[dict]) -> dict:
    """seeds: one row a seed of the model on the task. A seed that is not ok has one row in all."""
    line = {key: rows[0][key] for key in ("experiment", "task", "model", "objective", *KEY[2:])}
    line |= {"status": status(seeds), "n_ok": sum(r["status"] == "ok" for r in seeds)}
    line |= {"n_seeds": len(seeds), "examples": rows[0]["examples"]} | dict.fromkeys(MEANS)
    line |= dict.fromkeys(("low", "high"))
    if line["n_ok"] < len(seeds):
        return line
    speeds = [row | {"tokens_per_s": row["tokens"] / row["seconds"]} for row in rows]
    for name in MEANS:
        values = [row[name] for row in speeds]
        line[name] = None if None in values else summary(values).mean
    if len(rows) == 1:
        line |= {"low": rows[0]["low"], "high": rows[0]["high"]}
    return line


def _table(lines: list[dict], rows: list[dict]) -> Table:
    several = len(distinct(lines, "task")) > 1
    table = []
    for (task, objective, model), own in grouped(lines, "task", "objective", "model").items():
        group = f"{task}, {objective}" if several else objective
        table.append(Row(model, _entries(own), group))
    seeds = distinct(rows, "seed")
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {rows[0]['protocol']}, "
        f"{'mean over seeds' if len(seeds) > 1 else 'seed'} {listed(seeds)}. Percent of "
        f"{listed(distinct(rows, 'examples'))} test examples that are solved; below, how often the "
        "network was evaluated for one of them, one evaluation after the other."
    )
    return Table(caption, COLUMNS, table, _notes(lines))


def _entries(lines: list[dict]) -> list[Entry]:
    """Of one model on one task. Best: the most solved, by the fewest evaluations."""
    ok = [line for line in lines if line["evaluations"] is not None]
    if not ok:
        return [Entry(lines[0]["status"]), *[Entry("-")] * (len(COLUMNS) - 1)]
    best = max(ok, key=_rank)
    # without blocks and by confidence, where there is a choice
    whole = [line for line in ok if line["sampler"] in ("confidence", "autoregressive")] or ok
    one = min((line for line in whole if line["steps"] == 1), key=_cost, default=None)
    every = max(whole, key=_cost)
    known = best["solved"] is not None
    return [
        _solved(best),
        Entry(named(best) if known else "-"),
        _solved(one),
        _solved(every),
        Entry("-" if best["right"] is None else f"{best['right']:.1f}"),
        Entry(number((best if known else every)["tokens_per_s"])),
    ]


def _rank(line: dict) -> tuple:
    """One step is the same in every order: then it is called by confidence."""
    return line["solved"] or 0, -line["evaluations"], line["sampler"] == "confidence"


def _cost(line: dict) -> float:
    return line["evaluations"]


def _solved(line: dict | None) -> Entry:
    if line is None:
        return Entry("-")
    text = "-" if line["solved"] is None else f"{line['solved']:.1f}"
    bits = "" if line["bits"] is None else f", {line['bits']:.2f} bits"
    return Entry(text, f"{number(line['evaluations'])}{bits}")


def named(line: dict) -> str:
    """A sampler in words."""
    name = line["sampler"] + (f" of {line['block']}" if line["block"] else "")
    return name + (f", steps {line['steps']}" if line["steps"] else "")


def _notes(lines: list[dict]) -> list[str]:
    notes = [
        "Solved: all answers of an example are right or, where the true distribution is known, its "
        "sequence is possible; - where neither can be said.",
        "Tokens/s: generated by the sampler of the best, on the run's device.",
    ]
    if any(line["sampler"] != "autoregressive" for line in lines):
        notes.append(
            "One step, and one token a step: by confidence over all missing tokens. Steps of "
            "blocks are those of each block. The csv has all."
        )
    if any(line["bits"] is not None for line in lines):
        notes.append("Bits: of a generated token under the true model, of possible sequences.")
    if any(line["n_ok"] < line["n_seeds"] for line in lines):
        notes.append("No mean where a seed is not ok.")
    return notes
