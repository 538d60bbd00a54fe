"""Tasks that a protocol trains in variants, e.g. Text at four lengths: each model's best one."""

from __future__ import annotations

from statistics import fmean

from lra.core.formats import listed
from lra.core.unique import distinct, grouped


def with_best(rows: list[dict]) -> tuple[list[dict], list[str]]:
    """`rows` of scores.parquet with those of each task that has variants only, and a note on each.

    A model's rows are those of the variant with the highest mean accuracy on validation, over its
    seeds. Where a seed of a variant is not ok the model has no best one: what is missing might be.
    The rows of a task's only variant become those of the task.
    """
    trained = set(distinct(rows, "task"))
    variants = [row for row in rows if row.get("variant_of") not in (None, *trained)]
    names = {task: distinct(of, "task") for (task,), of in grouped(variants, "variant_of").items()}
    alone = {only[0]: task for task, only in names.items() if len(only) == 1}
    notes = [f"{task}: of its variants {name} alone." for name, task in alone.items()]
    rows = [
        row | {"task": alone[row["task"]], "variant_of": None} if row["task"] in alone else row
        for row in rows
    ]
    several = [row for row in variants if row["task"] not in alone]
    added, chosen = [], {}
    for (task, model), own in grouped(several, "variant_of", "model").items():
        if any(row["status"] != "ok" for row in own):
            continue
        of = {name: seeds for (name,), seeds in grouped(own, "task").items()}
        best = max(of, key=lambda name, of=of: fmean(row["val_accuracy"] for row in of[name]))
        added += [row | {"task": task, "variant_of": None} for row in of[best]]
        chosen.setdefault(task, {}).setdefault(best, []).append(model)
    notes += [
        f"{task}: each model's best variant on validation: "
        + "; ".join(f"{name} of {listed(models)}" for name, models in of.items()) + "."
        for task, of in chosen.items()
    ]  # fmt: skip
    return rows + added, notes


def counted_once(rows: list[dict]) -> list[dict]:
    """`rows` in which no task counts more than once: of one in variants each model's best."""
    return [row for row in with_best(rows)[0] if not row.get("variant_of")]
