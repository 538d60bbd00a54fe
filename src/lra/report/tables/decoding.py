"""Token by token: decode and prefill speed, state and the cost of a causal training, by length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lra import attention
from lra.core.formats import BYTES, fitting_unit, listed, number, times
from lra.core.unique import distinct
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, models_by, one_value
from lra.results.points import LEAST_CPU, DecodeRow, DirectionsRow
from lra.results.records import read_table

NAMED = ("experiment", "protocol", "task", "model", "mechanism", "length", "batch_size", "threads")
NAMED += ("sizes", "device", "torch_version", "status", "reason")
RATIO = "causal_over_bidirectional"
GROUPS = {  # column: heading
    "decode_tokens_per_s": "Decode, tokens/s",
    "prefill_tokens_per_s": "Prefill, tokens/s",
    "state_bytes": "State of a sequence, {unit}",
    RATIO: "Causal over bidirectional step",
}


def decoding(decode: Path, directions: Path) -> tuple[Table, list[dict]]:
    """A group of rows for each of GROUPS, a column for each context or length.

    Raises LRAError where experiments are mixed.
    """
    rows = read_table(decode, DecodeRow).to_pylist()
    trained = read_table(directions, DirectionsRow).to_pylist()
    if not rows + trained:
        return NOTHING
    one_value(decode, rows + trained, "experiment")
    values = [key for kind in (DecodeRow, DirectionsRow) for key in kind.model_fields]
    keys = list(dict.fromkeys([*NAMED, *values]))
    known = [("decode", row) for row in rows] + [("directions", row) for row in trained]
    lines = [{"what": what} | {key: row.get(key) for key in keys} for what, row in known]
    return _table(lines), lines


def _table(lines: list[dict]) -> Table:
    lengths = sorted(distinct(lines, "length"))
    decoded = [line for line in lines if line["what"] == "decode"]
    trained = [line for line in lines if line["what"] == "directions"]
    contexts = sorted(distinct(decoded, "length"))
    state = {line["model"]: line["state"] for line in decoded}
    held = (line["state_bytes"] or None for line in decoded)
    unit, size = fitting_unit(held, {"kB": 1e3, "MB": BYTES["MB"]}, 0.1)
    shown: dict[str, Callable[[dict], Entry]] = {
        "decode_tokens_per_s": lambda line: _entry(line, "decode_tokens_per_s"),
        "prefill_tokens_per_s": lambda line: _entry(line, "prefill_tokens_per_s"),
        "state_bytes": lambda line: _entry(line, "state_bytes", size),
        RATIO: lambda line: Entry(times(line[RATIO]) or line["status"]),
    }
    table = []
    for column, entry in shown.items():
        own = trained if column == RATIO else decoded
        for row in models_by("length", own, distinct(own, "model"), entry, lengths):
            growth = "" if column == RATIO else _growth(own, row.name, column, contexts)
            entries = [Entry(state.get(row.name, "-")), *row.entries, Entry(growth)]
            table.append(Row(row.name, entries, GROUPS[column].format(unit=unit)))
    caption = (
        f"Experiment {lines[0]['experiment']}. Causal models with random weights, by tokens of "
        "context or, in training, of the window. Medians; the csv has quartiles."
    )
    columns = ["state", *(f"{n:,}" for n in lengths), "growth"]
    return Table(caption, columns, table, _notes(lines, state))


def _entry(line: dict, column: str, size: float = 1.0) -> Entry:
    return Entry(line["status"] if line[column] is None else number(line[column], size))


def _growth(lines: list[dict], model: str, column: str, contexts: list[int]) -> str:
    """The value after the longest context over that after the shortest."""
    at = {line["length"]: line[column] for line in lines if line["model"] == model}
    first, last = at.get(contexts[0]), at.get(contexts[-1])
    return times(last / first) if first and last else "-"


def _notes(lines: list[dict], state: dict[str, str]) -> list[str]:
    known = {key: listed(v for v in distinct(lines, key) if v is not None) for key in NAMED}
    task = f"options of {known['task']} in protocol {known['protocol']}"
    notes = [
        f"Measured on {known['device']}; torch {known['torch_version']}; batch size "
        f"{known['batch_size']}; float32; {task}; encoder of {known['sizes']}. On a CPU seconds "
        f"are those of the process, with threads: {known['threads']}.",
        "Prefill: all tokens in parallel, then the state after them, for which most forms project "
        "the tokens a second time. Decode: one token after the other from there.",
        "Growth: the value after the longest context over that after the shortest. Of decoding it "
        "is near 1 where a step does not depend on the context.",
    ]
    kinds = {
        "recurrent": "recurrent: a state of fixed size",
        "window": "window: the last tokens, at most a fixed number",
        "cache": "cache: something of every token",
        "recomputed": "recomputed: all inputs; a step is the parallel form of all of them",
    }
    said = [text for kind, text in kinds.items() if kind in state.values()]
    notes += [f"State, {'; '.join(said)}."] if said else []
    if any(line["what"] == "directions" for line in lines):
        notes.append(
            "Step: forward, backward and update of the same mechanism with and without "
            "sight of later tokens, in turn in one process. Above 1×, causality slows training."
        )
    shares = [line["cpu_share"] for line in lines if line["cpu_share"] is not None]
    if "cpu" in known["device"] and min(shares, default=1.0) < LEAST_CPU:
        notes.append(
            "The machine was busy: while a model decoded, the process had a CPU for as little as "
            f"{100 * min(shares):.0f} % of the time."
        )
    none = [name for name in attention.names() if not attention.info(name).causal]
    notes.append(f"No causal form: {listed(none)}.")
    lost = (line for line in lines if line["status"] != "ok")
    reasons = {f"{line['model']} at {line['length']:,}: {line['reason']}" for line in lost}
    return notes + [f"{reason}." for reason in sorted(reasons)]
