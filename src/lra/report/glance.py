"""What a terminal shows of a finished experiment: 80 columns, then a few findings."""

from __future__ import annotations

import csv
import io
import textwrap
from pathlib import Path

from lra import attention
from lra.core.files import text_of
from lra.core.formats import BYTES, fitting_unit, listed, number, times
from lra.core.unique import distinct, grouped
from lra.results import layout
from lra.results.points import POINT_KINDS, read_fast

WIDTH = 80
MODEL, WIDE = 14, 13  # columns of a model's name, of `*34.3 / 33.9`


def glance(root: Path) -> str:
    """The experiment whose results lie in `root`, by its tables and profiles.

    Raises LRAError naming a table that is missing or broken.
    """
    lines = accuracies(root)
    found = [*_table(lines), ""]
    for finding in findings(lines, root):
        found += textwrap.wrap(finding, WIDTH, subsequent_indent="  ")
    page = root / layout.PAGE
    shown = [f"Tables and figures: {root}"] + [f"Page: {page}"] * page.exists()
    return "\n".join([*found, "", *shown])


def accuracies(root: Path) -> list[dict]:
    """The lines of the accuracy table's csv, as text; raises LRAError where it cannot be read."""
    path = root / f"{layout.TABLE.format(table='accuracy')}.csv"
    return list(csv.DictReader(io.StringIO(text_of(path))))


def _table(lines: list[dict]) -> list[str]:
    tasks, models = distinct(lines, "task"), distinct(lines, "model")
    at = {(line["task"], line["model"]): line for line in lines}
    if MODEL + WIDE * len(tasks) > WIDTH:
        tasks = [task for task in tasks if task != "average"]
    width = min(WIDE, (WIDTH - MODEL) // len(tasks))
    first = lines[0]
    rows = [
        ("", {task: task[: width - 1] for task in tasks}),
        ("chance", {task: _rounded(at[task, models[0]]["chance"]) for task in tasks}),
        *(
            (model, {task: _cell(at.get((task, model)), width) for task in tasks})
            for model in models
        ),
    ]
    whose = f"{first['experiment']}, protocol {first['protocol']}"
    title = f"{whose}: test accuracy in percent, {_shown(lines, width)}"
    body = [
        f"{name[: MODEL - 1]:{MODEL}}" + "".join(f"{cells[task]:>{width}}" for task in tasks)
        for name, cells in rows
    ]
    return [*textwrap.wrap(title, WIDTH), "", *(row.rstrip() for row in body)]


def _shown(lines: list[dict], width: int) -> str:
    """What the entries are, and of how many seeds."""
    seeds, few = int(lines[0]["n_seeds"]), not any(x["interval"] == "seeds" for x in lines)
    if seeds == 1:
        of = "one seed"
    elif width < WIDE:
        of = f"mean of {seeds} seeds"
    else:
        of = f"{seeds} seeds" if few else f"mean ± standard deviation of {seeds} seeds"
    return f"{of}; * best{', where told apart from the second' if few else ''}"


def _cell(line: dict | None, width: int) -> str:
    if line is None or line["verdict"] != "ok":
        return (
            "-" if line is None or line["verdict"] == "incomplete" else line["verdict"][: width - 1]
        )
    text = _rounded(line["mean"])
    if line["interval"] == "seeds" and width == WIDE:
        text += f" ± {float(line['std']):.1f}"
    elif width == WIDE:
        text = " / ".join(map(_rounded, line["by_seed"].split()))
    return f"{'*' if line['rank'] == 'best' else ''}{text}"


def _rounded(text: str) -> str:
    return f"{float(text):.1f}" if text else "-"


def findings(lines: list[dict], root: Path) -> list[str]:
    """One line each: every task's best and what is at chance; what is fastest and leanest.

    lines: of the accuracy table's csv. Raises LRAError as `glance` does.
    """
    tasks = grouped((line for line in lines if line["chance"]), "task")
    return [*(_finding(task, own) for (task,), own in tasks.items()), *_costs(root)]


def _finding(task: str, lines: list[dict]) -> str:
    """The best of a task, how far it is above chance and the second, and what is not above."""
    ok = sorted((x for x in lines if x["verdict"] == "ok"), key=lambda x: -float(x["mean"]))
    if not ok:
        return f"{task}: no model is above chance."
    best, *others = ok
    text = f"{task}: best is {best['model']}, {_above(best, best['chance'])} points above chance"
    near = [x["model"] for x in others if x["apart"] == "False"]
    if near and len(near) == len(others):
        text += "; no other model is told apart from it"
    elif near:
        text += f"; not told apart from it: {listed(near)}"
    elif others:
        text += f" and {_above(best, others[0]['mean'])} above {others[0]['model']}"
    stuck = [x["model"] for x in lines if x["verdict"] == "FAIL"]
    return text + (f"; not above chance (FAIL): {listed(stuck)}." if stuck else ".")


def _above(line: dict, other: str) -> str:
    return f"{float(line['mean']) - float(other):.1f}"


def _costs(root: Path) -> list[str]:
    """The mechanism that trains fastest, and with the least memory, at the longest length.

    A baseline is named where nothing else was measured: it is fast because it mixes little.
    """
    said = []
    for what, (_, kind, column) in POINT_KINDS.items():
        path = root / layout.PARQUET.format(what=what)
        rows = [row for row in read_fast(path, kind) if row[column]] if path.exists() else []
        if not rows:
            continue
        longest = max(row["length"] for row in rows)
        own = {row["model"]: row[column] for row in rows if row["length"] == longest}
        own = {model: own[model] for model in own if not _is_baseline(model)} or own
        best = (max if what == "speed" else min)(own, key=own.__getitem__)
        base = own.get("transformer")
        factor = (
            f" ({times(own[best] / base)} the transformer's)"
            if base and best != "transformer"
            else ""
        )
        unit, size = ("steps/s", 1.0) if what == "speed" else fitting_unit([own[best]], BYTES, 0.1)
        word = "Fastest" if what == "speed" else "Leanest"
        value = f"{number(own[best], size)} {unit}"
        said.append(f"{word} in training at {longest:,} tokens: {best}, {value}{factor}.")
    return said


def _is_baseline(model: str) -> bool:
    return model in attention.names() and attention.info(model).family == "baseline"
