"""Speed and memory against length, beside Table 2 of the paper; and what else a step costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from lra.core.formats import BYTES, fitting_unit, listed, number, times
from lra.core.unique import distinct
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, models_by, one_value
from lra.results.records import MemoryRow, SpeedRow, read_table
from lra.stats import published
from lra.stats.published import MATERIALISED, PAPER

COSTS = {  # heading: status, column of the csv, unit (None: that of memory)
    "inference\nsteps/s": ("speed_status", "infer_steps_per_s", 1),
    "training\ntokens/s": ("speed_status", "tokens_per_s", 1),
    "process\n{unit}": ("memory_status", "process_bytes", None),
    "training\nJ/step": ("speed_status", "joules_per_step", 1),
    "training\nGFLOP/step": ("speed_status", "flops_per_step", 1e9),
    "parameters\nthousands": ("speed_status", "params", 1e3),
}


def efficiency(speed: Path, memory: Path, reference: Path) -> tuple[Table, list[dict]]:
    """Training speed and peak memory of every model by length, as in Table 2 of the paper.

    Factors are over the materialised Transformer, or where it was not profiled over the fused one.
    """
    lines = _lines(speed, memory, reference)
    if not lines:
        return NOTHING
    notes = []
    if any(line["published_speedup"] is not None for line in lines):
        models, lengths = distinct(lines, "model"), distinct(lines, "length")
        notes = published.remarks(reference, models, map(str, lengths))
    return _by_length(lines, notes), lines


def costs(speed: Path, memory: Path, reference: Path) -> tuple[Table, list[dict]]:
    """What a step costs beside time and tensors: inference, tokens, energy, operations."""
    lines = _lines(speed, memory, reference)
    if not lines:
        return NOTHING
    keys = ("experiment", "model", "length", "batch_size", "device", "speed_status")
    keys += ("memory_status", *(column for _, column, _ in COSTS.values()))
    return _costs(lines), [{key: line[key] for key in keys} for line in lines]


def _lines(speed: Path, memory: Path, reference: Path) -> list[dict]:
    """One a length and model, with every value measured and the published ones."""
    speeds = read_table(speed, SpeedRow).to_pylist()
    memories = read_table(memory, MemoryRow).to_pylist()
    rows = speeds + memories
    one_value(speed, rows, "experiment")
    paper = published.efficiency(reference)
    fast = {(r["model"], r["length"]): r for r in speeds}
    large = {(r["model"], r["length"]): r for r in memories}
    models = distinct(rows, "model")
    base = MATERIALISED if MATERIALISED in models else "transformer"
    points = [(m, n) for n in sorted(distinct(rows, "length")) for m in models]
    lines = []
    for model, length in (point for point in points if point in fast | large):
        s, m = fast.get((model, length), {}), large.get((model, length), {})
        own = s.get("train_steps_per_s")
        bases = fast.get((base, length), {}).get("train_steps_per_s")
        named = ("experiment", "model", "length", "batch_size", "device")
        line = {key: (s or m)[key] for key in named}
        line |= {"speed_status": s.get("status", "-"), "train_steps_per_s": own}
        line |= {"factor_over": base, "factor": own / bases if own and bases else None}
        line |= {key: s.get(key) for key in ("infer_steps_per_s", "tokens_per_s")}
        line |= {key: s.get(key) for key in ("joules_per_step", "flops_per_step", "params")}
        line |= {"memory_status": m.get("status", "-")}
        line |= {key: m.get(key) for key in ("peak_bytes", "process_bytes")}
        for key in ("steps_per_s", "speedup", "peak_memory_gb"):
            line[f"published_{key}"] = published.value(paper.get((model, length), {}), key)
        lines.append(line)
    return lines


def _by_length(lines: list[dict], remarks: list[str]) -> Table:
    unit, size = fitting_unit((line["peak_bytes"] for line in lines), BYTES, 0.1)
    models = distinct(lines, "model")
    fast = models_by("length", lines, models, _speed)
    small = models_by("length", lines, models, lambda line: _memory(line, size))
    table = [Row(a.name, a.entries + b.entries) for a, b in zip(fast, small, strict=True)]
    lengths = [f"{length:,}" for length in distinct(lines, "length")]
    columns = [f"steps/s\n{n}" for n in lengths] + [f"{unit}\n{n}" for n in lengths]
    base = lines[0]["factor_over"]
    caption = (
        f"{_where(lines)} By sequence length in tokens: training steps per second, and {unit} of "
        "tensors at the peak of training."
    )
    notes = []
    if base in models:
        kind = "materialised, like" if base == MATERIALISED else "fused, unlike"
        caption += f" Below: the factor over {base}, whose attention is {kind} the paper's."
    if any(line["published_speedup"] is not None for line in lines):
        notes.append(
            f"In brackets: steps/s, factor and GB published by {PAPER}, Table 2, of byte-level "
            "text, batch size 32, 4x4 TPU v3. Sizes and hardware differ: compare trends, not "
            "values."
        )
    if any(line["factor"] is None and line["speed_status"] == "ok" for line in lines):
        notes.append(f"No factor at a length at which {base} has no speed.")
    if "transformer" in models:
        notes.append("transformer is fused attention, which has no counterpart in the paper.")
    return Table(caption, columns, table, notes + remarks)


def _costs(lines: list[dict]) -> Table:
    unit, size = fitting_unit((line["process_bytes"] for line in lines), BYTES, 0.1)
    shown: dict[str, Callable[[dict], str]] = {}
    everywhere = []
    for heading, (status, column, scale) in COSTS.items():
        heading, scale = heading.format(unit=unit), scale or size
        values = [line[column] for line in lines]
        if set(values) == {None}:
            continue
        if len(set(values)) == 1 and len(values) > 1:
            name = heading.replace("\n", " ")
            everywhere.append(f"{name}: {number(values[0], scale)} everywhere.")
        else:
            shown[heading] = partial(_measured, status=status, column=column, size=scale)
    table = [
        Row(x["model"], [Entry(text(x)) for text in shown.values()], f"{x['length']:,} tokens")
        for x in lines
    ]
    notes = []
    if any("GFLOP" in heading for heading in shown):
        notes.append(
            "GFLOP: of one forward and backward pass, a multiply-add as two, by the rules of "
            "torch's flop_counter. It counts matrix products, convolutions and fused attention, as "
            "if no key were hidden; not Fourier transforms, sorting, gathering and elementwise "
            "operators."
        )
    if any("J/step" in heading for heading in shown):
        notes.append("J/step: energy of the whole GPU, by its driver, over the steps of training.")
    elif all(line["joules_per_step"] is None for line in lines):
        devices = listed(distinct(lines, "device"))
        notes.append(f"Energy not measured: no driver reported it on {devices}.")
    notes.append("Memory is of the whole process at the peak of training.")
    return Table(" ".join([_where(lines), *everywhere]), list(shown), table, notes)


def _where(lines: list[dict]) -> str:
    devices, sizes = distinct(lines, "device"), distinct(lines, "batch_size")
    text = f"Experiment {lines[0]['experiment']}, batch size {listed(sizes)}, on {listed(devices)}."
    if len(devices) > 1 or len(sizes) > 1:
        text += " More than one device or batch size: not all rows are comparable."
    return text


def _measured(line: dict, status: str, column: str, size: float) -> str:
    """The value, or the status of a profile that was not finished."""
    known = column == "params" or line[status] == "ok"
    return number(line[column], size) if known else line[status]


def _speed(line: dict) -> Entry:
    rate, factor = line["published_steps_per_s"], line["published_speedup"]
    theirs = "" if factor is None else f"[{rate:.1f}, {factor:.1f}×]"
    text = _measured(line, "speed_status", "train_steps_per_s", 1)
    return Entry(text, f"{times(line['factor'])} {theirs}".strip())


def _memory(line: dict, size: float) -> Entry:
    theirs = line["published_peak_memory_gb"]
    text = _measured(line, "memory_status", "peak_bytes", size)
    return Entry(text, "" if theirs is None else f"[{theirs:.2f} GB]")
