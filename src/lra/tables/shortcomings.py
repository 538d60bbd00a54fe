"""What each family of mechanisms falls short of, as measured here, by family.

The complaints are those of Tay et al. 2020, Efficient Transformers: A Survey (arXiv:2009.06732): no
causal version, no gain where sequences are short, loss of quality, memory that still grows.
"""

from __future__ import annotations

from pathlib import Path

from lra.attention import info
from lra.published import MATERIALISED
from lra.records import MemoryRow, ScoreRow, SpeedRow, read_table
from lra.sheet import Entry, Row, Sheet
from lra.stats import fitted_exponent, outcome
from lra.tables.forms import in_order, nothing, one_value, signed, times, write

TITLE = "Shortcomings by family"
COLUMNS = ["causal", "accuracy\npoints", "shortest\nspeed", "longest\nspeed", "longest\nmemory"]
COLUMNS += ["time\nexponent", "memory\nexponent", "FAIL", "not ok"]


def shortcomings(root: Path, mechanisms: dict[str, str], stem: Path) -> None:
    """Write one row a family of the experiment's models; `mechanisms` has each model's mechanism.

    Reads scores, speed and memory.parquet in `root`. Differences and factors are to the model
    `transformer`; without it, or without a profile, they are `-`. Raises LRAError where the tables
    mix experiments.
    """
    scores = read_table(root / "scores.parquet", ScoreRow).to_pylist()
    if not scores:
        write(nothing("shortcomings", TITLE), [], stem)
        return
    speeds = read_table(root / "speed.parquet", SpeedRow).to_pylist()
    memories = read_table(root / "memory.parquet", MemoryRow).to_pylist()
    one_value(root / "scores.parquet", scores + speeds + memories, "experiment")
    families: dict[str, list[str]] = {}
    for model in in_order(scores, "model"):
        families.setdefault(info(mechanisms[model]).family, []).append(model)
    base = MATERIALISED if any(r["model"] == MATERIALISED for r in speeds) else "transformer"
    fast = _figures(speeds, "train_steps_per_s")
    large = _figures(memories, "peak_bytes")
    lengths = [n for n in sorted(fast.get(base, {})) if _everywhere(n, fast, large)]
    lines = []
    for family, models in families.items():
        line = {"experiment": scores[0]["experiment"], "family": family, "over": base}
        line |= {"models": " ".join(models)}
        line |= {"causal": " ".join(m for m in models if info(mechanisms[m]).causal)}
        line |= _scored(scores, models)
        line |= _profiled(fast, large, models, base, lengths)
        profiled = [r for r in speeds + memories if r["model"] in models]
        line |= {"points_not_ok": sum(r["status"] != "ok" for r in profiled)}
        lines.append(line)
    write(_sheet(lines), lines, stem)


def _figures(rows: list[dict], column: str) -> dict[str, dict[int, float]]:
    """By model and length, where there is a figure."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        own = found.setdefault(row["model"], {})
        if row["status"] == "ok" and row[column]:
            own[row["length"]] = row[column]
    return found


def _everywhere(length: int, *tables: dict[str, dict[int, float]]) -> bool:
    return all(length in own for table in tables for own in table.values())


def _scored(scores: list[dict], models: list[str]) -> dict:
    """Mean difference to the transformer over (model, task), if every cell of both is ok."""
    found, base = {}, {}
    for task in in_order(scores, "task"):
        of_task = [r for r in scores if r["task"] == task]
        for model in in_order(of_task, "model"):
            own = outcome([r for r in of_task if r["model"] == model])
            if model in models:
                found[model, task] = own
            if model == "transformer":
                base[task] = own
    both = [*found.values(), *base.values()]
    known = bool(base) and "transformer" not in models
    known = known and all(o.verdict in ("ok", "FAIL") for o in both)
    gaps = [o.accuracy.mean - base[task].accuracy.mean for (_, task), o in found.items() if known]
    return {
        "difference": sum(gaps) / len(gaps) if gaps else None,
        "n_fail": sum(o.verdict == "FAIL" for o in found.values()),
        "n_not_ok": sum(o.verdict not in ("ok", "FAIL") for o in found.values()),
        "n_cells": len(found),
    }


def _profiled(fast: dict, large: dict, models: list[str], base: str, lengths: list[int]) -> dict:
    """Lowest and highest over the family's models, of factors and of fitted exponents."""
    line = {
        "shortest": lengths[0] if lengths else None,
        "longest": lengths[-1] if lengths else None,
    }
    ends = {"shortest": lengths[:1], "longest": lengths[-1:]}
    for end, length in ends.items():
        for name, table in (("speed", fast), ("memory", large)):
            own = [table[m][n] / table[base][n] for n in length for m in models if m in table]
            line |= _range(f"{end}_{name}", own)
    for name, table, sign in (("time", fast, -1), ("memory", large, 1)):
        curves = [table[m] for m in models if len(table.get(m, ())) >= 3]
        fitted = [sign * fitted_exponent(list(c), list(c.values())) for c in curves]
        line |= _range(f"{name}_exponent", fitted)
    return line


def _range(name: str, values: list[float]) -> dict[str, float | None]:
    ends = (min(values), max(values)) if values else (None, None)
    return dict(zip((f"{name}_low", f"{name}_high"), ends, strict=True))


def _sheet(lines: list[dict]) -> Sheet:
    base, longest, shortest = (lines[0][key] for key in ("over", "longest", "shortest"))
    caption = (
        f"Experiment {lines[0]['experiment']}, one row a family as the survey of Tay et al. 2020 "
        "(arXiv:2009.06732) has them: what it complains of, as measured here. accuracy: mean over "
        "models and tasks of accuracy in points less the transformer's."
    )
    notes = []
    if longest:
        caption += (
            f" speed, memory: factor over {base} in training at {shortest:,} and {longest:,} tokens"
            ", the shortest and longest at which every model was measured; from lowest to highest "
            "over the family's models."
        )
        notes.append(
            "exponent: of length, in seconds a step and in bytes of tensors, by least squares over "
            "all lengths; 1 is linear, 2 quadratic. Short sequences pull it down."
        )
    else:
        notes.append(f"No factors: no length at which {base} and every model were measured.")
    notes += [
        "causal: how many of the family's models have a version that sees no later token.",
        "FAIL, not ok: cells (model, task) at chance, or not finished for some seed; in brackets "
        "profile points that could not be had.",
    ]
    if any(line["difference"] is None for line in lines):
        notes.append("accuracy - for the transformer itself, and where a cell of either is not ok.")
    table = [Row(line["family"], _entries(line)) for line in lines]
    return Sheet("shortcomings", TITLE, caption, ["models", *COLUMNS], table, notes, "family")


def _entries(line: dict) -> list[Entry]:
    models, causal = line["models"].split(), line["causal"].split()
    texts = [f"{len(causal)}/{len(models)}"]
    texts.append("-" if line["difference"] is None else signed(line["difference"]))
    texts += [_between(line, key, times) for key in ("shortest_speed", "longest_speed")]
    texts.append(_between(line, "longest_memory", times))
    texts += [_between(line, f"{key}_exponent", "{:.2f}".format) for key in ("time", "memory")]
    texts.append(f"{line['n_fail']}/{line['n_cells']}")
    lost = f" [{line['points_not_ok']}]" if line["points_not_ok"] else ""
    texts.append(f"{line['n_not_ok']}/{line['n_cells']}{lost}")
    return [Entry(models[0], "\n".join(models[1:])), *map(Entry, texts)]


def _between(line: dict, key: str, text) -> str:
    low, high = line[f"{key}_low"], line[f"{key}_high"]
    if low is None:
        return "-"
    return text(low) if text(low) == text(high) else f"{text(low)} – {text(high)}"
