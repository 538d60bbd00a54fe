"""Test accuracy of every model on every task, beside a published one: Table 1 of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from lra.core.unique import distinct
from lra.report.tables.render import Entry, Mark, Row, Table
from lra.report.tables.write import listed, nothing, one_value, signed
from lra.results.records import ScoreRow, read_table
from lra.stats import published
from lra.stats.published import (
    AVERAGED,
    CHANCE,
    NEAR,
    OWN,
    WITHIN,
    Replication,
    figure,
    replication,
)
from lra.stats.summary import Outcome, above_chance, outcome, summary

AVERAGE = "average"  # over tasks; stands where a task does


def accuracy(scores: Path, reference: Path) -> tuple[Table, list[dict]]:
    """Of scores.parquet; a task on a variant of its data set compares with nothing published.

    A mean counts only where every seed is ok and it is above chance, tested with the test examples
    of one seed (see stats.outcome): ranks and differences use no other. An average is over tasks,
    seed by seed, whatever is at chance. Raises LRAError where the scores mix experiments, protocols
    or test sets.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        return nothing(), []
    for column in ("experiment", "protocol"):
        one_value(scores, rows, column)
    for task in distinct(rows, "task"):
        # A cell that could not be had may not know its test set.
        ok = [r for r in rows if r["task"] == task and r["status"] == "ok"]
        for column in ("n_test", "chance") if ok else ():
            one_value(scores, ok, column)
    paper = published.scores(reference)
    lines = _lines(rows, paper, published.own_variants(rows))
    notes = _notes(lines, rows)
    if any(line["published"] is not None for line in lines):
        known = [_published_as(line["task"]) for line in lines if line["published"] is not None]
        notes += published.remarks(reference, distinct(rows, "model"), known)
    whose = published.WHOSE.get(reference.name, reference.name)
    return _sheet(lines, rows, whose, notes), lines


def rank(values: dict[str, float | None]) -> dict[str, Mark]:
    """Best and second of several models, as far as two decimals tell; ties share a rank."""
    shown = {name: round(value, 2) for name, value in values.items() if value is not None}
    places = sorted(set(shown.values()), reverse=True) if len(values) > 1 else []
    marks = dict(zip(places, ("best", "second"), strict=False))
    return {name: marks.get(shown.get(name), "") for name in values}


def _lines(rows: list[dict], paper: dict[str, dict], own_tasks: Collection[str]) -> list[dict]:
    """One a task and model, and of several tasks one a model for their average."""
    models, tasks = distinct(rows, "model"), distinct(rows, "task")
    lines = []
    for task in tasks:
        own = {m: [r for r in rows if (r["task"], r["model"]) == (task, m)] for m in models}
        own = {model: seeds for model, seeds in own.items() if seeds}
        found = {model: outcome(seeds) for model, seeds in own.items()}
        facts = {m: seeds[0] | {"n_stuck": sum(map(_stuck, seeds))} for m, seeds in own.items()}
        lines += _column(task, found, facts, paper, task in own_tasks)
    if len(tasks) > 1:
        over = averaged(tasks)
        found = {m: _average([r for r in rows if r["model"] == m], over) for m in models}
        lost = dict.fromkeys(("n_test", "chance", "validation", "params", "n_stuck"))
        facts = {r["model"]: r | lost for r in rows}
        theirs = paper if set(over) == AVERAGED else {}
        lines += _column(AVERAGE, found, facts, theirs, any(task in own_tasks for task in over))
    return lines


def averaged(tasks: list[str]) -> list[str]:
    """The tasks that an average is over: the paper's five where all are there, else all."""
    return [t for t in tasks if t in AVERAGED] if set(tasks) >= AVERAGED else tasks


def _average(rows: list[dict], tasks: list[str]) -> Outcome:
    """Of one model over its seeds, each with its mean over the tasks; never FAIL."""
    at = {(r["task"], r["seed"]): r["accuracy"] for r in rows if r["status"] == "ok"}
    seeds = distinct(rows, "seed")
    if any((task, seed) not in at for task in tasks for seed in seeds):
        return Outcome("incomplete", None, len(seeds))
    means = [sum(at[task, seed] for task in tasks) / len(tasks) for seed in seeds]
    return Outcome("ok", summary(means), len(seeds))


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
        own, mean = facts[model], ours.accuracy
        theirs = figure(paper.get(model, {}), _published_as(task))
        met = replication(
            ours, theirs, own["n_test"], own["chance"], own["protocol"], own_task=own_task
        )
        comparable = own["protocol"] != "quick" and not own_task
        line = {"experiment": own["experiment"], "protocol": own["protocol"]}
        line |= {"task": task, "model": model, "verdict": ours.verdict}
        line |= dict.fromkeys(("mean", "std", "low", "high"))
        line |= {"n_ok": 0, "n_stuck": None, "n_seeds": ours.seeds}
        if mean:
            line |= {"mean": mean.mean, "std": mean.std, "low": mean.low, "high": mean.high}
            line |= {"n_ok": mean.n, "n_stuck": own["n_stuck"]}
        line |= {"n_test": own["n_test"], "chance": own["chance"], "rank": marks[model]}
        line |= {"validation": own["validation"], "params": own["params"]}
        line |= {"published": theirs}
        line |= {"difference": _minus(ours.number, theirs) if comparable else None}
        line |= {"replication": met.verdict, "replication_why": met.why}
        lines.append(line)
    return lines


def _published_as(task: str) -> str:
    return "avg" if task == AVERAGE else task


def _stuck(row: dict) -> bool:
    """Trained to the end, and no better than chance."""
    facts = row["accuracy"], row["n_test"], row["chance"]
    return row["status"] == "ok" and not above_chance(*facts)


def _sheet(lines: list[dict], rows: list[dict], whose: str, notes: list[str]) -> Table:
    at = {(line["model"], line["task"]): line for line in lines}
    models, columns = distinct(rows, "model"), distinct(lines, "task")
    several = len({line["n_seeds"] for line in lines}) > 1
    table = [Row(m, [_entry(at.get((m, column)), several) for column in columns]) for m in models]

    protocol = rows[0]["protocol"]
    sure = {r["task"]: r for r in rows} | {r["task"]: r for r in rows if r["status"] == "ok"}
    facts = [f"{t} {r['chance']:.1f} %, n = {r['n_test']:,}" for t, r in sure.items()]
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {protocol}; test accuracy in percent, "
        f"{_seed_words(rows)}. Chance (the majority class) and test examples: {'; '.join(facts)}."
    )
    if AVERAGE in columns:
        caption += f" Average: over {listed(averaged(distinct(rows, 'task')))}, seed by seed."
    if any(line["published"] is not None for line in lines):
        caption += f" Last line: {whose}"
        caption += (
            ", not comparable: the figures here are of small models on small data."
            if protocol == "quick"
            else ", and in parentheses ours minus that."
        )
    elif protocol == "quick":
        caption += " Small models on small data: not comparable with the paper's figures."
    caption += " Best in bold, second underlined." if len(models) > 1 else ""
    return Table(caption, columns, table, notes)


def _notes(lines: list[dict], rows: list[dict]) -> list[str]:
    notes = []
    if any(line["verdict"] == "FAIL" for line in lines):
        notes.append("FAIL: not significantly above chance (one-sided binomial test, p < 0.01).")
    notes += _against_published(lines)
    for task in distinct(rows, "task"):
        own = [line for line in lines if line["task"] == task]
        stuck = [f"{x['model']} {x['n_stuck']}/{x['n_ok']}" for x in own if x["n_stuck"]]
        if stuck:
            notes.append(f"{task}: seeds that stayed at chance, of those ok: {', '.join(stuck)}.")
        of_task = [row for row in rows if row["task"] == task]
        if any(row["validation"] == "test set" for row in of_task):
            notes.append(f"{task}: validated on the test set itself, as the official code does.")
        sizes = {row["model"]: row["params"] for row in of_task}
        if off_size := _off_size(sizes):
            notes.append(
                f"{task}: parameters more than 10 % from the transformer's "
                f"{sizes['transformer']:,}, which LRA's rules do not allow: {', '.join(off_size)}."
            )
    averages = [line for line in lines if line["task"] == AVERAGE]
    over = averaged(distinct(rows, "task"))
    failed: dict[str, list[str]] = {x["model"]: [] for x in averages if x["verdict"] == "ok"}
    for x in lines:
        if x["verdict"] == "FAIL" and x["model"] in failed and x["task"] in over:
            failed[x["model"]].append(x["task"])
    cells = [f"{model} ({listed(tasks)})" for model, tasks in failed.items() if tasks]
    if cells:
        notes.append(f"average: FAIL counts with the accuracy measured: {listed(cells)}.")
    if any(line["verdict"] == "incomplete" for line in averages):
        notes.append("No average (-) where a seed of one of its tasks is missing or not ok.")
    return notes


def _against_published(lines: list[dict]) -> list[str]:
    notes = []
    met = [line for line in lines if line["replication"] not in (None, "not comparable")]
    if met:
        by = Counter(x["replication"] for x in met) + Counter(x["replication_why"] for x in met)
        wide = [x["high"] - x["low"] for x in met if x["replication_why"] == WITHIN]
        notes.append(
            f"Reproduced, of {len(met)} published figures: ≈ {NEAR} of our mean ({by[NEAR]}) or "
            f"{CHANCE} ({by[CHANCE]}); ∼ only {WITHIN} ({by[WITHIN]}"
            + (f", up to {max(wide):.1f} points wide" if wide else "")
            + f"). Not: ↑ ours is above ({by['above']}), ↓ below ({by['below']})."
        )
    lost = [x for x in lines if x["replication"] == "not comparable" and x["protocol"] != "quick"]
    lost = [x for x in lost if x["verdict"] != "incomplete"]
    own = distinct((x for x in lost if x["replication_why"] == OWN), "task")
    whys = {f"{x['model']} on {x['task']}": x["replication_why"] for x in lost}
    cells = [f"{listed(own)} ({OWN})"] if own else []
    cells += [f"{cell} ({why})" for cell, why in whys.items() if why != OWN]
    if cells:
        notes.append(f"Not comparable with what was published: {'; '.join(cells)}.")
    return notes


def _off_size(sizes: dict[str, int]) -> list[str]:
    """`linear (+12 %)` of those that break LRA's rule: within 10 % of the Transformer's size."""
    if "transformer" not in sizes:
        return []
    base = sizes["transformer"]
    shares = {model: 100 * (size - base) / base for model, size in sizes.items()}
    return [f"{model} ({share:+.0f} %)" for model, share in shares.items() if abs(share) > 10]


def _entry(line: dict | None, say_seeds: bool) -> Entry:
    if line is None:
        return Entry("-")
    text, under = "-" if line["verdict"] == "incomplete" else line["verdict"], []
    if text == "ok":
        text = f"{line['mean']:.2f}"
        text += f" ± {line['std']:.2f}" if line["std"] is not None else ""
        text += f" (n = {line['n_seeds']})" if say_seeds else ""
        # An accuracy ends at 0 and 100 %; the csv has the interval as it comes.
        ends = line["low"] is not None and (max(line["low"], 0), min(line["high"], 100))
        under += ["[{:.1f}, {:.1f}]".format(*ends)] if ends else []
    theirs = _published_text(line["published"], line["difference"])
    sign = Replication(line["replication"], line["replication_why"]).sign
    under.append(f"{theirs} {sign}".strip())
    return Entry(text, "\n".join(filter(None, under)), line["rank"])


def _published_text(theirs: float | str | None, difference: float | None) -> str:
    if theirs is None:
        return ""
    text = theirs if isinstance(theirs, str) else f"{theirs:.2f}"
    return text + ("" if difference is None else f" ({signed(difference)})")


def _minus(ours: float | None, theirs: float | str | None) -> float | None:
    return None if ours is None or not isinstance(theirs, float) else ours - theirs


def _seed_words(rows: list[dict]) -> str:
    seeds = distinct(rows, "seed")
    if len(seeds) == 1:
        return f"seed {seeds[0]} only, hence no standard deviation and no interval"
    return (
        f"mean ± standard deviation over seeds {listed(seeds)}, and in brackets the 95 % interval "
        "of the mean (Student's t, cut at 0 and 100 %)"
    )
