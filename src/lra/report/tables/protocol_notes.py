"""What a reader of the accuracy table must know of the protocol: differences, attended tokens."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

from lra.config import protocol_source
from lra.config.protocol_source import ABSENT, ANY, Sourced
from lra.core.formats import listed
from lra.core.unique import distinct, grouped


def notes(rows: list[dict], reference: Path) -> list[str]:
    """rows: of scores.parquet. reference: beside it lie the tables of the protocols' sources."""
    found = [_attended(rows)] if any(row.get("attended_tokens") for row in rows) else []
    table = protocol_source.path(reference.parent, rows[0]["protocol"])
    tasks = [t for r in rows for t in (r.get("variant_of"), r["task"]) if t]
    lines = protocol_source.differences(
        protocol_source.read(table), dict.fromkeys(tasks), distinct(rows, "model")
    )
    absent = [line for line in lines if ABSENT == line.value == line.source]
    if absent:
        names = dict.fromkeys(line.task if line.model == ANY else line.model for line in absent)
        found.append(f"Not in the source, with values of our own: {listed(names)}.")
    if sourced := [line for line in lines if line.value != ABSENT]:
        found.append(f"Differences from the source, all ({table.name}): {_joined(sourced)}.")
    return found


def _attended(rows: list[dict]) -> str:
    """`pathfinder 541 (1,024: linear, linformer)`: the most frequent number first."""
    by_task = []
    for (task,), own in grouped((r for r in rows if r.get("attended_tokens")), "task").items():
        means = {
            model: f"{fmean(row['attended_tokens'] for row in seeds):,.0f}"
            for (model,), seeds in grouped(own, "model").items()
        }
        models: dict[str, list[str]] = {}
        for model, mean in means.items():
            models.setdefault(mean, []).append(model)
        usual, *others = sorted(models, key=lambda mean: -len(models[mean]))
        text = f"{task} {usual}"
        if others:
            text += f" ({'; '.join(f'{mean}: {listed(models[mean])}' for mean in others)})"
        by_task.append(text)
    return f"Tokens of a test example that are attended, on average: {', '.join(by_task)}."


def _joined(lines: list[Sourced]) -> str:
    """The same difference of several tasks or models is said once."""
    same: dict[tuple, list[str]] = {}
    for line in lines:
        key = (line.key, json.dumps(line.value), json.dumps(line.ours), line.reason)
        scope = " of ".join(word for word in (line.model, line.task) if word != ANY)
        same.setdefault(key, []).append(scope)
    said = []
    for (key, theirs, ours, reason), scopes in same.items():
        where = listed(scope for scope in dict.fromkeys(scopes) if scope)
        name = key.removeprefix("other: ").removeprefix("encoder.").removeprefix("training.")
        said.append(
            f"{name}{f' ({where})' if where else ''}: {_plain(theirs)} there, {_plain(ours)} here "
            f"({reason})"
        )
    return "; ".join(said)


def _plain(value: str) -> str:
    """JSON without quotes around a word."""
    return value.strip('"')
