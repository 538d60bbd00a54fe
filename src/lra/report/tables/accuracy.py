"""Test accuracy of every model on every task, beside a published one: Table 1 of the paper."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lra.core.formats import listed, signed
from lra.core.unique import distinct, grouped
from lra.report.tables import baselines, protocol_notes
from lra.report.tables.render import Entry, Mark, Table
from lra.report.tables.variants import with_best
from lra.report.tables.write import NOTHING, models_by, one_value
from lra.results.records import ScoreRow, read_table
from lra.stats import published
from lra.stats.published import AVERAGED, CHANCE, LEVEL, NEAR, OWN, Replication, replication
from lra.stats.summary import AT_CHANCE, Outcome, Summary, outcomes, summary

AVERAGE = "average"  # over tasks; stands where a task does


def accuracy(scores: Path, reference: Path, simple: Path) -> tuple[Table, list[dict]]:
    """The accuracies of scores.parquet, by task and model, and their averages over the tasks.

    simple: baselines.parquet, for the notes.

    A task on a variant of its data set compares with nothing published. A mean counts only where
    every seed is ok and it is above chance (see stats.summary.outcomes); ranks and differences use
    no other. An average is over tasks, seed by seed, at chance or not. Raises LRAError where the
    scores mix experiments, protocols or test sets.
    """
    rows, notes = with_best(read_table(scores, ScoreRow).to_pylist())
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment", "protocol")
    # The record of a cell that failed may lack its test set.
    for own in grouped((r for r in rows if r["status"] == "ok"), "task").values():
        one_value(scores, own, "n_test", "chance")
    lines = _lines(rows, published.scores(reference), published.own_variants(rows))
    notes += _notes(lines, rows) + baselines.notes(simple, lines, rows)
    compared = [_published_as(line["task"]) for line in lines if line["published"] is not None]
    if compared:
        notes += published.remarks(reference, distinct(rows, "model"), compared)
    notes += protocol_notes.notes(rows, reference)
    whose = published.WHOSE.get(reference.name, reference.name)
    return _table(lines, rows, whose, notes), lines


def rank(values: dict[str, float | None]) -> dict[str, Mark]:
    """Best and second of several models, by values of two decimals; ties share a rank."""
    shown = {name: round(value, 2) for name, value in values.items() if value is not None}
    places = sorted(set(shown.values()), reverse=True) if len(values) > 1 else []
    marks = dict(zip(places, ("best", "second"), strict=False))
    return {name: marks.get(shown.get(name), "") for name in values}


def _lines(rows: list[dict], paper: dict[str, dict], own_tasks: set[str]) -> list[dict]:
    """One a task and model, and of several tasks one a model for their average."""
    lines, cells = [], outcomes(rows)
    for (task,), of_task in grouped(rows, "task").items():
        own = {model: seeds for (model,), seeds in grouped(of_task, "model").items()}
        found = {model: cells[model, task] for model in own}
        facts = {model: seeds[0] for model, seeds in own.items()}
        lines += _column(task, found, facts, paper, task in own_tasks)
    if len(over := averaged(rows)) > 1:
        own = {model: seeds for (model,), seeds in grouped(rows, "model").items()}
        mixed = {model for (model, task), each in cells.items() if task in over and each.mixed}
        found = {model: _average(seeds, over, model in mixed) for model, seeds in own.items()}
        no_task = dict.fromkeys(("n_test", "chance", "validation", "params"))
        facts = {model: seeds[0] | no_task for model, seeds in own.items()}
        theirs = paper if set(over) == AVERAGED else {}
        lines += _column(AVERAGE, found, facts, theirs, any(task in own_tasks for task in over))
    return lines


def averaged(rows: list[dict]) -> list[str]:
    """The tasks that an average is over: the paper's five where all are there, else all.

    No variant of a task counts, but its best one does (lra.report.tables.variants).
    """
    tasks = distinct((row for row in rows if not row.get("variant_of")), "task")
    return [t for t in tasks if t in AVERAGED] if set(tasks) >= AVERAGED else tasks


def _average(rows: list[dict], tasks: list[str], mixed: bool) -> Outcome:
    """Of one model over its seeds, each with its mean over the tasks; never FAIL."""
    at = {(r["task"], r["seed"]): r["accuracy"] for r in rows if r["status"] == "ok"}
    seeds = distinct(rows, "seed")
    if any((task, seed) not in at for task in tasks for seed in seeds):
        return Outcome("incomplete", None, len(seeds))
    means = [sum(at[task, seed] for task in tasks) / len(tasks) for seed in seeds]
    return Outcome("ok", summary(means), len(seeds), mixed=mixed)


def _column(
    task: str,
    found: dict[str, Outcome],
    facts: dict[str, dict],
    paper: dict[str, dict],
    own_task: bool,
) -> list[dict]:
    """The lines of a task or of the average; `facts` has by model what its rows have in common."""
    marks = rank({model: ours.number for model, ours in found.items()})
    lines = []
    for model, ours in found.items():
        own, mean = facts[model], ours.accuracy or Summary(None, None, 0, None, None)
        theirs = published.value(paper.get(model, {}), _published_as(task))
        verdict = replication(
            ours, theirs, own["n_test"], own["chance"], own["protocol"], own_task=own_task
        )
        comparable = own["protocol"] != "quick" and not own_task
        numbers = comparable and ours.number is not None and isinstance(theirs, float)
        line = {key: own[key] for key in ("experiment", "protocol")}
        line |= {"task": task, "model": model, "verdict": ours.verdict}
        line |= {"mean": mean.mean, "std": mean.std, "low": mean.low, "high": mean.high}
        line |= dict(zip(("low_90", "high_90"), mean.interval(LEVEL) or (None,) * 2, strict=True))
        line |= {"n_ok": mean.n, "n_stuck": ours.stuck if mean.n and task != AVERAGE else None}
        line |= {"n_seeds": ours.seeds, "n_test": own["n_test"], "chance": own["chance"]}
        line |= {"rank": marks[model], "validation": own["validation"], "params": own["params"]}
        line |= {"published": theirs, "difference": ours.number - theirs if numbers else None}
        line |= {"replication": verdict.verdict, "replication_why": verdict.why}
        lines.append(line)
    return lines


def _published_as(task: str) -> str:
    return "avg" if task == AVERAGE else task


def _table(lines: list[dict], rows: list[dict], whose: str, notes: list[str]) -> Table:
    models, seeds = distinct(rows, "model"), distinct(rows, "seed")
    columns = distinct(lines, "task")
    several = len(distinct(lines, "n_seeds")) > 1
    table = models_by("task", lines, models, lambda line: _entry(line, several))
    protocol = rows[0]["protocol"]
    over = (
        f"mean ± standard deviation over seeds {listed(seeds)}, and in brackets the 95 % interval "
        "of the mean (Student's t, cut at 0 and 100 %)"
        if len(seeds) > 1
        else f"seed {seeds[0]} only, hence no standard deviation and no interval"
    )
    known = {r["task"]: r for r in rows} | {r["task"]: r for r in rows if r["status"] == "ok"}
    tests = [f"{t} {r['chance']:.1f} %, n = {r['n_test']:,}" for t, r in known.items()]
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {protocol}; test accuracy in percent, "
        f"{over}. Chance (the majority class) and test examples: {'; '.join(tests)}."
    )
    if AVERAGE in columns:
        caption += f" Average: over {listed(averaged(rows))}, seed by seed."
    if any(line["published"] is not None for line in lines):
        caption += f" Last line: {whose}"
        caption += (
            ", not comparable: this experiment trains small models on small data."
            if protocol == "quick"
            else ", and in parentheses ours minus that."
        )
    elif protocol == "quick":
        caption += " Small models on small data: not comparable with the paper's values."
    caption += " Best in bold, second underlined." if len(models) > 1 else ""
    return Table(caption, columns, table, notes)


def _notes(lines: list[dict], rows: list[dict]) -> list[str]:
    notes = []
    if any(line["verdict"] == "FAIL" for line in lines):
        notes.append(f"FAIL: {AT_CHANCE}.")
    notes += _against_published(lines)
    for (task,), own in grouped(rows, "task").items():
        of_task = [line for line in lines if line["task"] == task]
        stuck = [f"{x['model']} {x['n_stuck']}/{x['n_ok']}" for x in of_task if x["n_stuck"]]
        if stuck:
            notes.append(
                f"{task}: seeds that stayed at chance, of those ok: {listed(stuck)}. A model "
                "without one may have such trainings too: few seeds do not show them."
            )
        if any(row["validation"] == "test set" for row in own):
            notes.append(f"{task}: validated on the test set itself, as the official code does.")
        sizes = {row["model"]: row["params"] for row in own}
        if off_size := _off_size(sizes):
            notes.append(
                f"{task}: parameters more than 10 % from the transformer's "
                f"{sizes['transformer']:,}, which LRA's rules do not allow: {listed(off_size)}."
            )
    averages = {x["model"]: x["verdict"] for x in lines if x["task"] == AVERAGE}
    over = averaged(rows)
    failed = (x for x in lines if x["verdict"] == "FAIL" and x["task"] in over)
    failed = {model: distinct(own, "task") for (model,), own in grouped(failed, "model").items()}
    cells = [
        f"{model} ({listed(failed[model])})"
        for model, verdict in averages.items()
        if verdict == "ok" and model in failed
    ]
    if cells:
        notes.append(f"average: FAIL counts with the accuracy measured: {listed(cells)}.")
    if "incomplete" in averages.values():
        notes.append("No average (-) where a seed of one of its tasks is missing or not ok.")
    return notes


def _against_published(lines: list[dict]) -> list[str]:
    notes = []
    compared = [line for line in lines if line["replication"] not in (None, "not comparable")]
    if compared:
        by = Counter(x[key] for x in compared for key in ("replication", "replication_why"))
        notes.append(
            f"Of {len(compared)} published values {by['reproduced']} are reproduced (≈): the "
            f"{LEVEL:g} % interval of our mean over seeds lies {NEAR} of the value ({by[NEAR]}), "
            f"or both are at chance ({by[CHANCE]}). The whole interval is beyond that: ours is "
            f"above (↑ {by['above']}) or below (↓ {by['below']}). Neither is shown: inconclusive "
            f"(? {by['inconclusive']})."
        )
    unsure = [x for x in compared if x["replication"] == "inconclusive"]
    if unsure:
        whys = [
            f"{why}: {listed(map(_with_width, own))}"
            for (why,), own in grouped(unsure, "replication_why").items()
        ]
        notes.append(
            f"Inconclusive, and how many points the {LEVEL:g} % interval is wide: "
            f"{'; '.join(whys)}."
        )
    odd = [x for x in lines if x["replication"] == "not comparable" and x["protocol"] != "quick"]
    odd = [x for x in odd if x["verdict"] != "incomplete"]
    own = distinct((x for x in odd if x["replication_why"] == OWN), "task")
    whys = {f"{x['model']} on {x['task']}": x["replication_why"] for x in odd}
    cells = [f"{listed(own)} ({OWN})"] if own else []
    cells += [f"{cell} ({why})" for cell, why in whys.items() if why != OWN]
    if cells:
        notes.append(f"Not comparable with what was published: {'; '.join(cells)}.")
    return notes


def _with_width(line: dict) -> str:
    """`local on text (44.2)`; without the width for one seed."""
    low, high = line["low_90"], line["high_90"]
    return f"{line['model']} on {line['task']}" + (
        f" ({high - low:.1f})" if low is not None else ""
    )


def _off_size(sizes: dict[str, int]) -> list[str]:
    """`linear (+12 %)` of those that break LRA's rule: within 10 % of the Transformer's size."""
    base = sizes.get("transformer")
    shares = {model: 100 * (size - base) / base for model, size in sizes.items()} if base else {}
    return [f"{model} ({share:+.0f} %)" for model, share in shares.items() if abs(share) > 10]


def _entry(line: dict, say_seeds: bool) -> Entry:
    text, below = "-" if line["verdict"] == "incomplete" else line["verdict"], []
    if text == "ok":
        text = f"{line['mean']:.2f}"
        text += f" ± {line['std']:.2f}" if line["std"] is not None else ""
        text += f" (n = {line['n_seeds']})" if say_seeds else ""
        if line["low"] is not None:
            # An accuracy ends at 0 and 100 %; the csv has the interval as it comes.
            below.append(f"[{max(line['low'], 0):.1f}, {min(line['high'], 100):.1f}]")
    theirs, gap = line["published"], line["difference"]
    sign = Replication(line["replication"], line["replication_why"]).sign
    parts = [f"{theirs:.2f}" if isinstance(theirs, float) else theirs]
    parts += ["" if gap is None else f"({signed(gap)})", sign]
    below.append(" ".join(filter(None, parts)))
    return Entry(text, "\n".join(filter(None, below)), line["rank"])
