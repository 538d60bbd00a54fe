"""The shortcomings of each family of mechanisms, as measured here.

The complaints are those of Tay et al. 2020, Efficient Transformers: A Survey (arXiv:2009.06732), in
our words. Beside them stand causal versions, accuracy, and speed and memory by length.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lra.attention import info
from lra.core.formats import signed, times
from lra.core.unique import distinct, grouped, unique
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, one_value
from lra.results.points import MemoryRow, SpeedRow, read_fast
from lra.results.rates import read_chosen
from lra.stats.published import MATERIALISED
from lra.stats.summary import Outcome, fitted_exponent, outcomes, unlearned

COLUMNS = ["models", "the survey's\ncomplaint", "causal", "accuracy\npoints", "shortest\nspeed"]
COLUMNS += ["longest\nspeed", "longest\nmemory", "time\nexponent", "memory\nexponent"]
COLUMNS += ["FAIL", "not ok"]
COMPLAINTS = {
    "full": "grows with the square\nof the length",
    "fixed pattern": "reaches no further\nthan its pattern",
    "learnable pattern": "sorting, hashing or\nclustering costs extra",
    "memory": "global slots read every\ntoken, so hardly causal",
    "low rank": "mixes positions: fixed\nlength, hardly causal",
    "kernel": "only near to softmax;\nsequential where causal",
    "recurrence": "no gradient reaches\nearlier segments",
    "state space": "none: later than\nthe survey",
    "gated recurrence": "none: later than\nthe survey",
    "baseline": "none: not in the\nsurvey",
}
Curves = dict[str, dict[int, float]]  # by model and length


def shortcomings(scores: Path, speed: Path, memory: Path) -> tuple[Table, list[dict]]:
    """One row a family of the experiment's models.

    Differences and factors are to the model `transformer`, factors at the shortest and longest
    length that it and every profiled model of the family have; without it, or without a profile,
    they are `-`. Raises LRAError where the tables mix experiments.
    """
    rows = read_chosen(scores)
    if not rows:
        return NOTHING
    speeds = read_fast(speed, SpeedRow)
    memories = read_fast(memory, MemoryRow)
    one_value(scores, rows + speeds + memories, "experiment")
    infos = {row["model"]: info(row["mechanism"]) for row in rows}
    base = MATERIALISED if MATERIALISED in distinct(speeds, "model") else "transformer"
    fast, large = _curves(speeds, "train_steps_per_s"), _curves(memories, "peak_bytes")
    cells, lines = outcomes(rows), []
    for family in unique(each.family for each in infos.values()):
        models = [model for model, each in infos.items() if each.family == family]
        line = {"experiment": rows[0]["experiment"], "family": family}
        line |= {"complaint": COMPLAINTS.get(family, "-").replace("\n", " "), "over": base}
        line |= {"models": " ".join(models)}
        line |= {"causal": " ".join(m for m in models if infos[m].causal)}
        line |= _scored(cells, models)
        line |= _profiled(fast, large, models, base)
        profiled = [r for r in speeds + memories if r["model"] in models]
        line |= {"points_not_ok": sum(r["status"] != "ok" for r in profiled)}
        lines.append(line)
    return _table(lines, len(distinct(speeds, "length"))), lines


def _curves(rows: list[dict], column: str) -> Curves:
    """The values measured."""
    measured = [row for row in rows if row["status"] == "ok" and row[column]]
    return {
        model: {row["length"]: row[column] for row in own}
        for (model,), own in grouped(measured, "model").items()
    }


def _scored(cells: dict[tuple[str, str], Outcome], models: list[str]) -> dict:
    """Mean difference to the transformer over the cells (model, task) that both finished.

    Without the tasks that no model learned.
    """
    found = {cell: ours for cell, ours in cells.items() if cell[0] in models}
    gaps, grey = [], unlearned(cells)
    for (_, task), ours in found.items():
        base = cells.get(("transformer", task))
        if "transformer" in models or task in grey:
            continue
        if base and base.finished and ours.finished:
            gaps.append(ours.accuracy.mean - base.accuracy.mean)
    return {
        "difference": sum(gaps) / len(gaps) if gaps else None,
        "n_compared": len(gaps),
        "n_fail": sum(o.verdict == "FAIL" for o in found.values()),
        "n_not_ok": sum(not o.finished for o in found.values()),
        "n_cells": len(found),
    }


def _profiled(fast: Curves, large: Curves, models: list[str], base: str) -> dict:
    """Lowest and highest over the family's models, of factors and of fitted exponents."""
    measured = [m for m in models if m in fast and m in large]
    curves = [each.get(m, {}) for each in (fast, large) for m in [base, *measured]]
    lengths = sorted(set.intersection(*map(set, curves))) if measured else []
    ends = {"shortest": lengths[:1], "longest": lengths[-1:]}
    line = {end: length[0] if length else None for end, length in ends.items()}
    for end, length in ends.items():
        for name, each in (("speed", fast), ("memory", large)):
            factors = [each[m][n] / each[base][n] for n in length for m in measured]
            line |= _range(f"{end}_{name}", factors)
    for name, each, sign in (("time", fast, -1), ("memory", large, 1)):
        curves = [each[m] for m in models if m in each]
        fits = [fit for c in curves if (fit := fitted_exponent(list(c), list(c.values())))]
        line |= _range(f"{name}_exponent", [sign * fit.value for fit in fits])
        line |= {f"{name}_exponent_error": max((fit.error for fit in fits), default=None)}
    return line


def _range(name: str, values: list[float]) -> dict[str, float | None]:
    return {f"{name}_low": min(values, default=None), f"{name}_high": max(values, default=None)}


def _table(lines: list[dict], profiled: int) -> Table:
    """`profiled`: at how many lengths."""
    base = lines[0]["over"]
    ends = {
        end: most((line[end] for line in lines if line[end]), default=None)
        for end, most in (("shortest", min), ("longest", max))
    }
    caption = (
        f"Experiment {lines[0]['experiment']}, one row a family as the survey of Tay et al. 2020 "
        "(arXiv:2009.06732) has them: what it complains of, in short, and what was measured here. "
        "accuracy: mean over models and tasks of accuracy in points less the transformer's."
    )
    notes = []
    if ends["longest"]:
        caption += (
            f" speed, memory: factor over {base} in training at {ends['shortest']:,} and "
            f"{ends['longest']:,} tokens, from lowest to highest over the family's models."
        )
    else:
        notes.append(f"No factors: no length at which {base} and a family's models were measured.")
    if any(x[end] not in (None, n) for end, n in ends.items() for x in lines):
        notes.append(
            f"at ...: the factors are at this length, the nearest at which {base} and every "
            "profiled model of the family were measured."
        )
    if any(line["time_exponent_low"] is not None for line in lines):
        notes.append(
            "exponent: of length, in seconds a step and in bytes of tensors, by least squares over "
            "all lengths, ± the largest standard error in the family; 1 is linear, 2 quadratic. "
            "Short sequences make it smaller."
        )
    if profiled < 3:
        notes.append(f"No exponents: {profiled} lengths were profiled, and a fit takes three.")
    notes += [
        "causal: how many of the family's models have a version that sees no later token.",
        "FAIL, not ok: cells (model, task) at chance, or not finished for some seed; in brackets "
        "the profile points that failed.",
    ]
    if any(line["n_fail"] for line in lines):
        notes.append("accuracy counts what is at chance (FAIL) as measured.")
    if any(0 < line["n_compared"] < line["n_cells"] for line in lines):
        notes.append(
            "(n/m): accuracy over n of the family's m cells, those finished like the transformer's "
            "on a task that some model learned."
        )
    if any(line["difference"] is None for line in lines):
        notes.append(
            "accuracy - for the transformer itself, and where no cell of both is finished."
        )
    table = [Row(line["family"], _entries(line, ends)) for line in lines]
    return Table(caption, COLUMNS, table, notes, "family")


def _entries(line: dict, ends: dict[str, int | None]) -> list[Entry]:
    """`ends`: the lengths in the caption, which a cell need not repeat."""
    models, causal = line["models"].split(), line["causal"].split()
    complaint = COMPLAINTS.get(line["family"], "-").split("\n")
    entries = [Entry(first, "\n".join(rest)) for first, *rest in (models, complaint)]
    gap, n, cells = (line[key] for key in ("difference", "n_compared", "n_cells"))
    some = f" ({n}/{cells})" if n < cells else ""
    entries.append(Entry(f"{len(causal)}/{len(models)}"))
    entries.append(Entry("-" if gap is None else signed(gap) + some))
    for end, what in (("shortest", "speed"), ("longest", "speed"), ("longest", "memory")):
        other = line[end] not in (None, ends[end])
        text = _between(line, f"{end}_{what}", times)
        entries.append(Entry(text, f"at {line[end]:,}" if other else ""))
    for key in ("time_exponent", "memory_exponent"):
        error = line[f"{key}_error"]
        below = "" if error is None else f"± {error:.2f}"
        entries.append(Entry(_between(line, key, "{:.2f}".format), below))
    lost = f" [{line['points_not_ok']}]" if line["points_not_ok"] else ""
    return [
        *entries,
        Entry(f"{line['n_fail']}/{cells}"),
        Entry(f"{line['n_not_ok']}/{cells}{lost}"),
    ]


def _between(line: dict, key: str, text: Callable[[float], str]) -> str:
    low, high = line[f"{key}_low"], line[f"{key}_high"]
    if low is None:
        return "-"
    return text(low) if text(low) == text(high) else f"{text(low)} – {text(high)}"
