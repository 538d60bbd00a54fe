"""Speed and memory against length, beside Table 2 of the paper; and what else a step costs."""

from __future__ import annotations

from pathlib import Path

from lra.core.unique import distinct
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import listed, nothing, number, one_value, times
from lra.results.records import MemoryRow, SpeedRow, read_table
from lra.stats import published
from lra.stats.published import MATERIALISED, PAPER, figure

COSTS = {  # heading: status, column of the csv, unit (None: that of memory)
    "inference\nsteps/s": ("speed_status", "infer_steps_per_s", 1),
    "training\ntokens/s": ("speed_status", "tokens_per_s", 1),
    "process\n{unit}": ("memory_status", "process_bytes", None),
    "training\nJ/step": ("speed_status", "joules_per_step", 1),
    "training\nGFLOP/step": ("speed_status", "flops_per_step", 1e9),
    "parameters\nthousands": ("speed_status", "params", 1e3),
}


def efficiency(speed: Path, memory: Path, reference: Path) -> tuple[Table, list[dict]]:
    """Training speed and peak memory of every model by length, as Table 2 of the paper has them.

    Factors are over the materialised Transformer, or where it was not profiled over the fused one.
    """
    lines = _lines(speed, memory, reference)
    if not lines:
        return nothing(), []
    notes = []
    if any(line["published_speedup"] is not None for line in lines):
        models, lengths = distinct(lines, "model"), distinct(lines, "length")
        notes = published.remarks(reference, models, map(str, lengths))
    return _by_length(lines, notes), lines


def costs(speed: Path, memory: Path, reference: Path) -> tuple[Table, list[dict]]:
    """What a step costs beside time and tensors: inference, tokens, energy, operations."""
    lines = _lines(speed, memory, reference)
    if not lines:
        return nothing(), []
    keys = ("experiment", "model", "length", "batch_size", "device", "speed_status")
    keys += ("memory_status", *(column for _, column, _ in COSTS.values()))
    return _costs(lines), [{key: line[key] for key in keys} for line in lines]


def _lines(speed: Path, memory: Path, reference: Path) -> list[dict]:
    """One a model and length, with every figure and the published ones."""
    speeds = read_table(speed, SpeedRow).to_pylist()
    memories = read_table(memory, MemoryRow).to_pylist()
    if not speeds + memories:
        return []
    one_value(speed, speeds + memories, "experiment")
    paper = published.efficiency(reference)
    fast = {(r["model"], r["length"]): r for r in speeds}
    large = {(r["model"], r["length"]): r for r in memories}
    models = distinct(speeds + memories, "model")
    base = MATERIALISED if MATERIALISED in models else "transformer"
    lines = []
    for length in sorted({r["length"] for r in speeds + memories}):
        base_speed = fast.get((base, length), {}).get("train_steps_per_s")
        for model in (m for m in models if (m, length) in fast | large):
            s, m = fast.get((model, length), {}), large.get((model, length), {})
            theirs = paper.get((model, length), {})
            own = s.get("train_steps_per_s")
            line = {key: (s or m)[key] for key in ("experiment", "model", "length")}
            line |= {key: (s or m)[key] for key in ("batch_size", "device")}
            line |= {"speed_status": s.get("status", "-"), "train_steps_per_s": own}
            line |= {
                "factor_over": base,
                "factor": own / base_speed if own and base_speed else None,
            }
            line |= {key: s.get(key) for key in ("infer_steps_per_s", "tokens_per_s")}
            line |= {key: s.get(key) for key in ("joules_per_step", "flops_per_step", "params")}
            line |= {"memory_status": m.get("status", "-")}
            line |= {key: m.get(key) for key in ("peak_bytes", "process_bytes")}
            for key in ("steps_per_s", "speedup", "peak_memory_gb"):
                line[f"published_{key}"] = figure(theirs, key)
            lines.append(line)
    return lines


def _by_length(lines: list[dict], remarks: list[str]) -> Table:
    unit, size = _unit([line["peak_bytes"] for line in lines])
    models, lengths = distinct(lines, "model"), distinct(lines, "length")
    at = {(line["model"], line["length"]): line for line in lines}
    table = []
    for model in models:
        own = [at.get((model, length)) for length in lengths]
        fast = [_entry(x, "speed_status", "train_steps_per_s", 1, _speedup) for x in own]
        small = [_entry(x, "memory_status", "peak_bytes", size, _published_memory) for x in own]
        table.append(Row(model, fast + small))
    columns = [f"steps/s\n{length:,}" for length in lengths]
    columns += [f"{unit}\n{length:,}" for length in lengths]
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
            "figures."
        )
    if any(line["factor"] is None and line["speed_status"] == "ok" for line in lines):
        notes.append(f"No factor at a length at which {base} has no speed.")
    if "transformer" in models:
        notes.append("transformer is fused attention, which has no counterpart in the paper.")
    return Table(caption, columns, table, notes + remarks)


def _costs(lines: list[dict]) -> Table:
    unit, size = _unit([line["process_bytes"] for line in lines])
    shown, said = {}, []
    for heading, (status, column, scale) in COSTS.items():
        values = [line[column] for line in lines]
        name, scale = heading.replace("\n", " ").format(unit=unit), scale or size
        if set(values) == {None}:
            continue  # nobody has it
        if len(set(values)) == 1 and len(values) > 1:
            said.append(f"{name}: {number(values[0], scale)} everywhere.")
        else:
            shown[heading.format(unit=unit)] = (status, column, scale)
    table = [
        Row(
            line["model"],
            [_entry(line, status, column, scale) for status, column, scale in shown.values()],
            f"{line['length']:,} tokens",
        )
        for line in lines
    ]
    notes = []
    if any("GFLOP" in heading for heading in shown):
        notes.append(
            "GFLOP: of one forward and backward pass, a multiply-add as two, by the rules of "
            "torch's flop_counter: matrix products, convolutions and fused attention as if no key "
            "were hidden; not Fourier transforms, sorting, gathering and elementwise operators."
        )
    if any("J/step" in heading for heading in shown):
        notes.append("J/step: energy of the whole GPU, by its driver, over the steps of training.")
    elif all(line["joules_per_step"] is None for line in lines):
        notes.append(f"Energy: no driver told it on {listed(distinct(lines, 'device'))}.")
    notes.append("Memory is of the whole process at the peak of training.")
    caption = " ".join([_where(lines), *said])
    return Table(caption, list(shown), table, notes)


def _where(lines: list[dict]) -> str:
    devices, sizes = distinct(lines, "device"), distinct(lines, "batch_size")
    text = f"Experiment {lines[0]['experiment']}, batch size {listed(sizes)}, on {listed(devices)}."
    several = len(devices) > 1 or len(sizes) > 1
    return text + (" More than one device or batch size: not all rows compare." if several else "")


def _unit(peaks: list[int | None]) -> tuple[str, float]:
    """One unit for the table, in which its smallest figure can still be read."""
    known = [peak for peak in peaks if peak is not None]
    return ("GB", 1e9) if known and min(known) >= 1e8 else ("MB", 1e6)


def _entry(line: dict | None, status: str, column: str, size: float, below=None) -> Entry:
    """The status where the figure could not be had."""
    if line is None:
        return Entry("-")
    known = column == "params" or line[status] == "ok"
    text = number(line[column], size) if known else line[status]
    return Entry(text, below(line) if below else "")


def _speedup(line: dict) -> str:
    rate, factor = line["published_steps_per_s"], line["published_speedup"]
    theirs = "" if factor is None else f"[{rate:.1f}, {factor:.1f}×]"
    return f"{times(line['factor'])} {theirs}".strip()


def _published_memory(line: dict) -> str:
    theirs = line["published_peak_memory_gb"]
    return "" if theirs is None else f"[{theirs:.2f} GB]"
