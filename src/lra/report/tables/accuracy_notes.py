"""What the accuracy table says below it: lettered at its cells, in general, and folded away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lra.core.formats import listed
from lra.core.unique import distinct, grouped
from lra.report.tables import baselines, protocol_notes
from lra.report.tables.letters import Letters
from lra.stats import published
from lra.stats.published import CHANCE, LEVEL, NEAR
from lra.stats.summary import AT_CHANCE

AVERAGE = "average"  # over tasks; stands where a task does
OFF_SIZE = "parameters more than 10 % from the transformer's, which LRA's rules do not allow."


def published_as(task: str) -> str:
    """The column of scores.csv."""
    return "avg" if task == AVERAGE else task


def notes(
    lines: list[dict],
    rows: list[dict],
    over: list[str],
    grey: set[str],
    reference: Path,
    simple: Path,
) -> tuple[Letters, list[str], list[str]]:
    """Lettered notes, notes in general, and those that few need, such as any on every model.

    Places of letters: a column; (model, column); and (model, column, "published"). over: tasks of
    the average. grey: tasks that no model learned. simple: baselines.parquet.
    """
    letters, plain, folded = Letters(), [], []
    if any(line["verdict"] == "FAIL" for line in lines):
        plain.append(f"FAIL: {AT_CHANCE}.")
    plain += _counts(lines)
    letters.add(
        "no model is above chance, so that its models do not compare.",
        [task for task in distinct(lines, "task") if task in grey],
    )
    letters.add(
        "validated on the test set itself, as the official code does.",
        distinct((row for row in rows if row["validation"] == "test set"), "task"),
    )
    own = published.own_variants(rows) if rows[0]["protocol"] != "quick" else ()
    letters.add(
        "a variant of the data set of our own: compares with nothing published.",
        [task for task in distinct(lines, "task") if task in own],
    )
    _of_cells(letters, lines, over)
    sizes = _off_sizes(rows)
    letters.add(OFF_SIZE, sizes)
    _of_published(letters, lines, reference)
    plain += baselines.best(simple, rows)
    by_task = grouped(({"task": t, "text": text} for (_, t), text in sizes.items()), "task")
    folded += [
        f"{task}, parameters beside the transformer's: {listed(x['text'] for x in own)}."
        for (task,), own in by_task.items()
    ]
    folded += baselines.notes(simple, lines, rows) + protocol_notes.notes(rows, reference)
    return letters, plain, folded


def _counts(lines: list[dict]) -> list[str]:
    """How many published values are reproduced."""
    compared = [line for line in lines if line["replication"] not in (None, "not comparable")]
    if not compared:
        return []
    by = Counter(x[key] for x in compared for key in ("replication", "replication_why"))
    return [
        f"Of {len(compared)} published values {by['reproduced']} are reproduced (≈): the "
        f"{LEVEL:g} % interval of our mean over seeds lies {NEAR} of the value ({by[NEAR]}), "
        f"or both are at chance ({by[CHANCE]}). The whole interval is beyond that: ours is "
        f"above (↑ {by['above']}) or below (↓ {by['below']}). Neither is shown: inconclusive "
        f"(? {by['inconclusive']})."
    ]


def _of_cells(letters: Letters, lines: list[dict], over: list[str]) -> None:
    """On seeds at chance, and on averages."""
    for line in lines:
        stuck, ok = line["n_stuck"], line["n_ok"]
        if stuck and (stuck < ok or line["verdict"] != "FAIL"):
            letters.add(
                f"{stuck} of {ok} seeds stayed at chance. A model without this note may have such "
                "trainings too: few seeds do not show them.",
                [(line["model"], line["task"])],
            )
    failed = {x["model"] for x in lines if x["verdict"] == "FAIL" and x["task"] in over}
    averages = [x for x in lines if x["task"] == AVERAGE]
    letters.add(
        "FAIL counts with the accuracy measured.",
        [(x["model"], AVERAGE) for x in averages if x["verdict"] == "ok" and x["model"] in failed],
    )
    letters.add(
        "no average, as a seed of one of its tasks is missing or not ok.",
        [(x["model"], AVERAGE) for x in averages if x["verdict"] == "incomplete"],
    )


def _of_published(letters: Letters, lines: list[dict], reference: Path) -> None:
    """Why a verdict is inconclusive, and what is odd about a published value."""
    shown = [line for line in lines if line["published"] is not None]
    for line in shown:
        if line["replication"] == "inconclusive":
            where = (line["model"], line["task"], "published")
            letters.add(f"inconclusive: {line['replication_why']}.", [where])
    if not shown:
        return
    columns = {published_as(line["task"]): line["task"] for line in shown}
    for remark in published.remarks(reference, distinct(shown, "model"), columns):
        cells = [
            (line["model"], line["task"], "published")
            for line in shown
            if remark["model"] in ("", line["model"])
            and remark["column"] in ("", published_as(line["task"]))
        ]
        of_column = not remark["model"] and remark["column"]
        letters.add(remark["note"], [columns[remark["column"]]] if of_column else cells)


def _off_sizes(rows: list[dict]) -> dict[tuple[str, str], str]:
    """`linear +12 %` by (model, task) that breaks LRA's rule: within 10 % of the Transformer."""
    found = {}
    for (task,), own in grouped(rows, "task").items():
        sizes = {row["model"]: row["params"] for row in own}
        if base := sizes.get("transformer"):
            shares = {model: 100 * (size - base) / base for model, size in sizes.items()}
            found |= {(m, task): f"{m} {x:+.0f} %" for m, x in shares.items() if abs(x) > 10}
    return found
