"""The two tables of the paper, measured: accuracy (Table 1) and efficiency (Table 2).

Each is written as STEM.csv (one row a model and task or length, with all the numbers), and as
people read it: STEM.md, STEM.tex, STEM.html.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from lra import published, sheet
from lra.errors import LRAError
from lra.files import write_beside
from lra.published import AVERAGED, MATERIALISED, PAPER, figure
from lra.records import MemoryRow, ScoreRow, SpeedRow, read_table
from lra.sheet import Entry, Mark, Row, Sheet
from lra.stats import outcome


def accuracy(scores: Path, reference: Path, stem: Path) -> None:
    """Test accuracy of every model on every task, beside a published one where there is one.

    A mean counts only where every seed is ok and it is above chance, tested with the test examples
    of one seed (see stats.outcome): ranks, differences and averages use no other. Raises LRAError
    where the scores mix experiments, protocols or test sets.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        _write(_nothing("accuracy", "Accuracy"), [], stem)
        return
    for column in ("experiment", "protocol"):
        _one_value(scores, rows, column)
    for task in _in_order(rows, "task"):
        # A cell that could not be had may not know its test set.
        ok = [r for r in rows if r["task"] == task and r["status"] == "ok"]
        for column in ("n_test", "chance") if ok else ():
            _one_value(scores, ok, column)
    paper = published.scores(reference)
    lines = _accuracy_lines(rows, paper)
    whose = published.WHOSE.get(reference.name, reference.name)
    _write(_accuracy_sheet(lines, rows, paper, whose), lines, stem)


def efficiency(speed: Path, memory: Path, reference: Path, stem: Path) -> None:
    """Speed and memory of every model at every length, beside the paper's where it has the length.

    Factors are over the materialised Transformer, or where it was not profiled over the fused one.
    """
    speeds = read_table(speed, SpeedRow).to_pylist()
    memories = read_table(memory, MemoryRow).to_pylist()
    if not speeds + memories:
        _write(_nothing("efficiency", "Speed and memory"), [], stem)
        return
    _one_value(speed, speeds + memories, "experiment")
    paper = published.efficiency(reference)
    lines = _efficiency_lines(speeds, memories, paper)
    _write(_efficiency_sheet(lines), lines, stem)


def rank(values: dict[str, float | None]) -> dict[str, Mark]:
    """Best and second of several models, as far as two decimals tell; ties share a rank."""
    shown = {name: round(value, 2) for name, value in values.items() if value is not None}
    places = sorted(set(shown.values()), reverse=True) if len(values) > 1 else []
    marks = dict(zip(places, ("best", "second"), strict=False))
    return {name: marks.get(shown.get(name), "") for name in values}


def _off_size(sizes: dict[str, int]) -> list[str]:
    """`linear (+12 %)` of those that break LRA's rule: within 10 % of the Transformer's size."""
    if "transformer" not in sizes:
        return []
    base = sizes["transformer"]
    shares = {model: 100 * (size - base) / base for model, size in sizes.items()}
    return [f"{model} ({share:+.0f} %)" for model, share in shares.items() if abs(share) > 10]


def _accuracy_lines(rows: list[dict], paper: dict[str, dict]) -> list[dict]:
    lines = []
    models = _in_order(rows, "model")
    for task in _in_order(rows, "task"):
        own = {m: [r for r in rows if (r["task"], r["model"]) == (task, m)] for m in models}
        outcomes = {model: outcome(seeds) for model, seeds in own.items() if seeds}
        marks = rank({model: found.number for model, found in outcomes.items()})
        for model, found in outcomes.items():
            first, mean = own[model][0], found.accuracy
            theirs = figure(paper.get(model, {}), task)
            comparable = first["protocol"] != "quick"
            line = {key: first[key] for key in ("experiment", "protocol", "task", "model")}
            line |= {"verdict": found.verdict, "mean": None, "std": None, "low": None, "high": None}
            line |= {"n_ok": 0, "n_seeds": found.seeds}
            if mean:
                line |= {"mean": mean.mean, "std": mean.std, "low": mean.low, "high": mean.high}
                line |= {"n_ok": mean.n}
            line |= {"n_test": first["n_test"], "chance": first["chance"], "rank": marks[model]}
            line |= {"validation": first["validation"], "params": first["params"]}
            line |= {"paper": theirs}
            line |= {"difference": _minus(found.number, theirs) if comparable else None}
            lines.append(line)
    return lines


def _accuracy_sheet(
    lines: list[dict], rows: list[dict], paper: dict[str, dict], whose: str
) -> Sheet:
    at = {(line["model"], line["task"]): line for line in lines}
    models, tasks = _in_order(rows, "model"), _in_order(rows, "task")
    protocol = rows[0]["protocol"]
    seeds = {line["n_seeds"] for line in lines}

    averages = {model: _average([at.get((model, task)) for task in tasks]) for model in models}
    average_marks = rank(averages)
    table = []
    notes = []
    for model in models:
        entries = [_accuracy_entry(at.get((model, task)), len(seeds) > 1) for task in tasks]
        if len(tasks) > 1:
            theirs = figure(paper.get(model, {}), "avg") if set(tasks) >= AVERAGED else None
            same = set(tasks) == AVERAGED and protocol != "quick"
            difference = _minus(averages[model], theirs) if same else None
            text = "-" if averages[model] is None else f"{averages[model]:.2f}"
            entries.append(Entry(text, _paper_text(theirs, difference), average_marks[model]))
            mean = published.mean(paper.get(model, {}))
            if None not in (theirs, mean) and abs(theirs - mean) >= 0.01:
                notes.append(
                    f"{model}: the average below is as published; its scores average {mean:.2f}."
                )
        table.append(Row(model, entries))

    for task in tasks:
        of_task = [row for row in rows if row["task"] == task]
        if any(row["validation"] == "test set" for row in of_task):
            notes.append(f"{task}: validated on the test set itself, as the official code does.")
        sizes = {row["model"]: row["params"] for row in of_task}
        off_size = _off_size(sizes)
        if off_size:
            notes.append(
                f"{task}: parameters more than 10 % from the transformer's "
                f"{sizes['transformer']:,}, which LRA's rules do not allow: {', '.join(off_size)}."
            )
    if any(line["verdict"] == "FAIL" for line in lines):
        notes.insert(0, "FAIL: not significantly above chance (one-sided binomial test, p < 0.01).")
    if len(tasks) > 1 and None in averages.values():
        notes.append("No average (-) where a task has no accuracy above chance from every seed.")
    if "pathx" in tasks and set(tasks) >= AVERAGED:
        notes.append("Published averages leave out pathx; all of the paper's models fail on it.")

    sure = {r["task"]: r for r in rows} | {r["task"]: r for r in rows if r["status"] == "ok"}
    facts = [f"{t} {r['chance']:.1f} %, n = {r['n_test']:,}" for t, r in sure.items()]
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {protocol}; test accuracy in percent, "
        f"{_seed_words(rows)}. Chance (the majority class) and test examples: {'; '.join(facts)}."
    )
    if any(line["paper"] is not None for line in lines):
        caption += f" Second line: {whose}"
        caption += (
            ", not comparable: the figures here are of small models on small data."
            if protocol == "quick"
            else ", and in parentheses ours minus that."
        )
    elif protocol == "quick":
        caption += " Small models on small data: not comparable with the paper's figures."
    caption += " Best in bold, second underlined." if len(models) > 1 else ""
    columns = [*tasks, "average"] if len(tasks) > 1 else tasks
    return Sheet("accuracy", "Accuracy", caption, columns, table, notes)


def _accuracy_entry(line: dict | None, say_seeds: bool) -> Entry:
    if line is None:
        return Entry("-")
    text = line["verdict"]
    if text == "ok":
        text = f"{line['mean']:.2f}"
        text += f" ± {line['std']:.2f}" if line["std"] is not None else ""
        text += f" (n = {line['n_seeds']})" if say_seeds else ""
    return Entry(text, _paper_text(line["paper"], line["difference"]), line["rank"])


def _average(lines: list[dict | None]) -> float | None:
    if any(line is None or line["verdict"] != "ok" for line in lines):
        return None
    return sum(line["mean"] for line in lines) / len(lines)


def _efficiency_lines(speeds: list[dict], memories: list[dict], paper: dict) -> list[dict]:
    fast = {(r["model"], r["length"]): r for r in speeds}
    large = {(r["model"], r["length"]): r for r in memories}
    models = _in_order(speeds + memories, "model")
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
            line |= {"joules_per_step": s.get("joules_per_step")}
            line |= {"memory_status": m.get("status", "-")}
            line |= {key: m.get(key) for key in ("peak_bytes", "process_bytes")}
            for key in ("steps_per_s", "speedup", "peak_memory_gb"):
                line[f"paper_{key}"] = figure(theirs, key)
            lines.append(line)
    return lines


def _efficiency_sheet(lines: list[dict]) -> Sheet:
    peaks = [line["peak_bytes"] for line in lines if line["peak_bytes"] is not None]
    # One unit for the table, in which its smallest figure can still be read.
    unit, size = ("GB", 1e9) if peaks and min(peaks) >= 1e8 else ("MB", 1e6)
    compared = any(line["paper_speedup"] is not None for line in lines)
    columns = ["training\nsteps/s", "\nspeed-up", "inference\nsteps/s", "training\ntokens/s"]
    columns += [f"tensors\n{unit}", f"process\n{unit}"]
    metered = any(line["joules_per_step"] is not None for line in lines)
    columns += ["training\nJ/step"] if metered else []
    columns += ["paper's\nspeed-up", "paper's\nGB"] if compared else []
    table = []
    for line in lines:
        texts = [_measured(line, "speed_status", "train_steps_per_s"), _times(line["factor"])]
        texts += [_measured(line, "speed_status", k) for k in ("infer_steps_per_s", "tokens_per_s")]
        texts += [
            _measured(line, "memory_status", k, size) for k in ("peak_bytes", "process_bytes")
        ]
        if metered:
            texts.append(_measured(line, "speed_status", "joules_per_step"))
        if compared:
            gigabytes = line["paper_peak_memory_gb"]
            speedup = line["paper_speedup"]
            texts.append("" if speedup is None else f"{speedup:.1f}×")
            texts.append("" if gigabytes is None else f"{gigabytes:.2f}")
        table.append(Row(line["model"], list(map(Entry, texts)), f"{line['length']:,} tokens"))

    models, base = _in_order(lines, "model"), lines[0]["factor_over"]
    devices, sizes = _in_order(lines, "device"), _in_order(lines, "batch_size")
    caption = (
        f"Experiment {lines[0]['experiment']}, batch size {_listed(sizes)}, on {_listed(devices)}. "
        "Steps and tokens per second, and memory at the peak of training: of the tensors, and of "
        "the whole process."
    )
    if base in models:
        kind = "materialised, like" if base == MATERIALISED else "fused, unlike"
        caption += f" Speed-up is over {base}, whose attention is {kind} the paper's."
    notes = []
    if metered:
        notes.append("J/step: energy of the whole GPU, by its driver, over the steps of training.")
    if compared:
        notes.append(
            f"Paper's: {PAPER}, Table 2; byte-level text, batch size 32, 4x4 TPU v3. Sizes and "
            "hardware differ: compare trends, not figures."
        )
    if any(line["factor"] is None and line["speed_status"] == "ok" for line in lines):
        notes.append(f"No speed-up at a length at which {base} has no speed.")
    if "transformer" in models:
        notes.append("transformer is fused attention, which has no counterpart in the paper.")
    if len(devices) > 1 or len(sizes) > 1:
        notes.append("More than one device or batch size: not all rows compare.")
    return Sheet("efficiency", "Speed and memory", caption, columns, table, notes)


def _measured(line: dict, status: str, figure: str, unit: float = 1.0) -> str:
    """With three digits at least; the status where it could not be had."""
    if line[status] != "ok" or line[figure] is None:
        return "-" if line[status] == "ok" else line[status]
    value = line[figure] / unit
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _times(factor: float | None) -> str:
    return "" if factor is None else f"{factor:.{1 if factor >= 1 else 2}f}×"


def _paper_text(theirs: float | str | None, difference: float | None) -> str:
    if theirs is None:
        return ""
    text = theirs if isinstance(theirs, str) else f"{theirs:.2f}"
    change = "" if difference is None else f" ({difference:+.2f})".replace("-", "−")
    return text + change


def _minus(ours: float | None, theirs: float | str | None) -> float | None:
    return None if ours is None or not isinstance(theirs, float) else ours - theirs


def _seed_words(rows: list[dict]) -> str:
    seeds = _in_order(rows, "seed")
    if len(seeds) == 1:
        return f"seed {seeds[0]} only, hence no standard deviation"
    return f"mean ± standard deviation over seeds {_listed(seeds)}"


def _one_value(path: Path, rows: list[dict], column: str) -> None:
    values = _in_order(rows, column)
    if len(values) != 1:
        raise LRAError(f"{path}: more than one {column} in one table: {_listed(values)}")


def _nothing(label: str, title: str) -> Sheet:
    return Sheet(label, title, "Nothing was measured.", [], [], [])


def _write(table: Sheet, lines: list[dict], stem: Path) -> None:
    numbers = io.StringIO()
    writer = csv.DictWriter(numbers, list(lines[0]) if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    forms = {
        "csv": numbers.getvalue(),
        "md": sheet.markdown(table),
        "tex": sheet.latex(table),
        "html": sheet.page(table),
    }
    for suffix, text in forms.items():
        write_beside(stem.with_name(f"{stem.name}.{suffix}"), text.encode())


def _in_order(rows: list[dict], column: str) -> list:
    return list(dict.fromkeys(row[column] for row in rows))


def _listed(values: Iterable) -> str:
    return ", ".join(map(str, values))
