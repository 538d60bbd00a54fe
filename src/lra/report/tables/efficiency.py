"""Speed and memory against length, beside Table 2 of the paper; and what else a step costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

from lra.config.cell import FAST
from lra.core.formats import BYTES, fitting_unit, listed, number, times
from lra.core.unique import distinct, grouped
from lra.report.tables import profile_notes
from lra.report.tables.letters import Letters
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, models_by, one_value
from lra.results.points import BUSY, MemoryRow, SpeedRow, busy, setting_text
from lra.results.records import read_table
from lra.stats import published
from lra.stats.published import MATERIALISED

NAMED = ("experiment", "protocol", "task", "model", "setting", "length", "batch_size", "device")
NAMED += ("precision", "deterministic", "tf32", "compile", "masks", "sizes", "torch_version")
PUBLISHED = ("steps_per_s", "speedup", "peak_memory_gb")
REPEATED = ("train_steps_per_s_low", "train_steps_per_s_high", "repeats", "cpu_share")
COSTS = {  # heading: status, column of the csv, unit (None: that of memory)
    "inference\nsteps/s": ("speed_status", "infer_steps_per_s", 1),
    "training\ntokens/s": ("speed_status", "tokens_per_s", 1),
    "process\n{unit}": ("memory_status", "process_bytes", None),
    "training\nJ/step": ("speed_status", "joules_per_step", 1),
    "training\nGFLOP/step": ("speed_status", "flops_per_step", 1e9),
    "training\nkernels/step": ("speed_status", "kernels_per_step", 1),
    "parameters\nthousands": ("speed_status", "params", 1e3),
}


def efficiency(speed: Path, memory: Path, reference: Path) -> tuple[Table, list[dict]]:
    """Training speed and peak memory of every model by length, as in Table 2 of the paper.

    The published ones have columns of their own, where they compare: the Text task, not `quick`.
    Factors are over the materialised Transformer of the same setting and length. Where it has no
    speed they are over the fused one, and a note says so.
    """
    lines = _lines(speed, memory, reference)
    if not lines:
        return NOTHING
    letters = Letters()
    letters.add(f"{BUSY}.", [(*_place(x), "speed") for x in lines if busy(x)])
    if any(line["published_speedup"] is not None for line in lines):
        fast = [line for line in lines if line["setting"] == FAST]
        models, lengths = distinct(fast, "model"), distinct(fast, "length")
        for remark in published.remarks(reference, models, map(str, lengths)):
            letters.add(
                remark["note"],
                [
                    (*_place(x), "published")
                    for x in fast
                    if remark["model"] in ("", x["model"])
                    and remark["column"] in ("", str(x["length"]))
                ],
            )
    return _by_length(lines, letters), lines


def costs(speed: Path, memory: Path, reference: Path) -> tuple[Table, list[dict]]:
    """What a step costs beside time and tensors: inference, tokens, energy, operations.

    Shown are the rows that every model has, of the setting `fast`; the csv has all.
    """
    lines = _lines(speed, memory, reference)
    if not lines:
        return NOTHING
    keys = (*NAMED, "speed_status", "memory_status", *(column for _, column, _ in COSTS.values()))
    fast = [line for line in lines if line["setting"] == FAST]
    table = _costs(fast)
    if len(fast) < len(lines):
        table.notes.append("Other kernels and precisions: in the csv.")
    return table, [{key: line[key] for key in keys} for line in lines]


def _lines(speed: Path, memory: Path, reference: Path) -> list[dict]:
    """One a setting, length and model, with every value measured and the published ones."""
    tables = read_table(speed, SpeedRow), read_table(memory, MemoryRow)
    speeds, memories = ([_named(row) for row in table.to_pylist()] for table in tables)
    rows = speeds + memories
    one_value(speed, rows, "experiment")
    paper = published.efficiency(reference)
    fast = {(r["setting"], r["length"], r["model"]): r for r in speeds}
    large = {(r["setting"], r["length"], r["model"]): r for r in memories}
    settings, lengths = distinct(rows, "setting"), sorted(distinct(rows, "length"))
    lines = []
    for point in product(settings, lengths, distinct(rows, "model")):
        if point not in fast | large:
            continue
        s, m = fast.get(point, {}), large.get(point, {})
        own = s.get("train_steps_per_s")
        base, rate = _base(fast, *point[:2])
        line = {key: (s or m)[key] for key in NAMED}
        line |= {"speed_status": s.get("status", "-"), "train_steps_per_s": own}
        line |= {key: s.get(key) for key in REPEATED}
        line |= {"factor_over": base, "factor": own / rate if own and rate else None}
        line |= {key: s.get(key) for key in ("infer_steps_per_s", "tokens_per_s")}
        line |= {key: s.get(key) for key in ("joules_per_step", "flops_per_step", "params")}
        line |= {"kernels_per_step": s.get("kernels_per_step")}
        line |= {"memory_status": m.get("status", "-")}
        line |= {key: m.get(key) for key in ("peak_bytes", "process_bytes")}
        size = line["peak_bytes"]
        line["bytes_per_example"] = None if size is None else size / line["batch_size"]
        compares = point[0] == FAST and _compares(line)
        theirs = paper.get((line["model"], line["length"]), {}) if compares else {}
        for key in PUBLISHED:
            line[f"published_{key}"] = published.value(theirs, key)
        lines.append(line)
    return lines


def _compares(line: dict) -> bool:
    """Whether with the paper's Table 2, of the Text task; tables of earlier versions name none."""
    return line["protocol"] != "quick" and (line["task"] or "text").startswith("text")


def _place(line: dict) -> tuple:
    return line["setting"], line["model"], line["length"]


def _named(row: dict) -> dict:
    """Tables of earlier versions have one setting, and do not say which."""
    return row | {"setting": row["setting"] or FAST}


def _base(fast: dict, setting: str, length: int) -> tuple[str | None, float | None]:
    """The model that factors are over, and its speed; None, None where neither has one."""
    for name in (MATERIALISED, "transformer"):
        rate = fast.get((setting, length, name), {}).get("train_steps_per_s")
        if rate:
            return name, rate
    return None, None


def _by_length(lines: list[dict], letters: Letters) -> Table:
    unit, size = fitting_unit((line["bytes_per_example"] for line in lines), BYTES, 0.1)
    lengths = distinct(lines, "length")
    theirs = distinct((x for x in lines if x["published_speedup"] is not None), "length")
    parts = [
        (lengths, "steps/s", lambda line: _speed(line, letters)),
        (lengths, f"{unit}/example", lambda line: _memory(line, size)),
        (theirs, "published", lambda line: _published(line, letters)),
    ]
    columns = [f"{heading}\n{n:,}" for own, heading, _ in parts for n in own]
    table, settings = [], grouped(lines, "setting")
    for own in settings.values():
        models = distinct(own, "model")
        blocks = [models_by("length", own, models, entry, at) for at, _, entry in parts]
        group = _heading(own[0]) if len(settings) > 1 else ""
        for rows in zip(*blocks, strict=True):
            entries = [entry for row in rows for entry in row.entries]
            table.append(Row(rows[0].name, entries, group))
    caption = (
        f"Experiment {lines[0]['experiment']}. By sequence length in tokens: training steps per "
        f"second (median of the repeats; the csv has their range), and {unit} of tensors per "
        "example at the peak of training."
    )
    models = distinct(lines, "model")
    if MATERIALISED in models:
        caption += f" Below: the factor over {MATERIALISED}, whose attention is like the paper's."
    elif "transformer" in models:
        caption += (
            " Below: the factor over transformer, whose attention is fused, unlike the paper's."
        )
    memory = (
        f"{unit}/example: parameters, gradients, optimiser state and activations of the whole "
        "batch at the peak, divided by the batch size."
    )
    notes = [profile_notes.conditions(lines, memory)]
    if theirs:
        notes.append(profile_notes.PUBLISHED)
    notes += profile_notes.bases(lines)
    if "transformer" in models:
        notes.append("transformer is fused attention, which has no counterpart in the paper.")
    return Table(caption, columns, table, notes + letters.notes)


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
    notes = [profile_notes.conditions(lines, "Memory: the whole process at the peak of training.")]
    if any("GFLOP" in heading for heading in shown):
        notes.append(
            "GFLOP: of one forward and backward pass, a multiply-add as two, by the rules of "
            "torch's flop_counter. It counts matrix products, convolutions and fused attention, as "
            "if no key were hidden; not Fourier transforms, sorting, gathering and elementwise "
            "operators."
        )
    if any("kernels/step" in heading for heading in shown):
        notes.append(
            "Kernels: operators of the same pass that write a tensor; a GPU starts one kernel or "
            "more for each. On a CPU some mechanisms take one head at a time, with more of them."
        )
    if any("J/step" in heading for heading in shown):
        notes.append("J/step: energy of the whole GPU, by its driver, over the steps of training.")
    elif all(line["joules_per_step"] is None for line in lines):
        devices = listed(distinct(lines, "device"))
        notes.append(f"Energy not measured: no driver reported it on {devices}.")
    experiment = f"Experiment {lines[0]['experiment']}."
    return Table(" ".join([experiment, *everywhere]), list(shown), table, notes)


def _heading(line: dict) -> str:
    text = setting_text(line)
    return text[:1].upper() + text[1:]


def _measured(line: dict, status: str, column: str, size: float) -> str:
    """The value, or the status of a profile that was not finished."""
    known = column == "params" or line[status] == "ok"
    return number(line[column], size) if known else line[status]


def _speed(line: dict, letters: Letters) -> Entry:
    text = _measured(line, "speed_status", "train_steps_per_s", 1)
    return Entry(text + letters.at((*_place(line), "speed")), times(line["factor"]))


def _memory(line: dict, size: float) -> Entry:
    return Entry(_measured(line, "memory_status", "bytes_per_example", size))


def _published(line: dict, letters: Letters) -> Entry:
    rate, factor, memory = (line[f"published_{key}"] for key in PUBLISHED)
    text = "-" if rate is None else f"{rate:.1f}"
    below = [times(factor), "" if memory is None else f"{memory:.2f} GB/device"]
    return Entry(text + letters.at((*_place(line), "published")), "\n".join(filter(None, below)))
