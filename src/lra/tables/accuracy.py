"""Test accuracy of every model on every task, beside a published one: Table 1 of the paper."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lra import published
from lra.published import AVERAGED, figure
from lra.records import ScoreRow, read_table
from lra.sheet import Entry, Mark, Row, Sheet
from lra.stats import above_chance, outcome
from lra.tables.forms import in_order, listed, nothing, one_value, signed, write
from lra.tables.replication import CLOSE, SIGNS, replication


def accuracy(scores: Path, reference: Path, stem: Path, own_tasks: Collection[str] = ()) -> None:
    """Write the table of scores.parquet; `own_tasks` are variants that do not compare.

    A mean counts only where every seed is ok and it is above chance, tested with the test examples
    of one seed (see stats.outcome): ranks, differences and averages use no other. Raises LRAError
    where the scores mix experiments, protocols or test sets.
    """
    rows = read_table(scores, ScoreRow).to_pylist()
    if not rows:
        write(nothing("accuracy", "Accuracy"), [], stem)
        return
    for column in ("experiment", "protocol"):
        one_value(scores, rows, column)
    for task in in_order(rows, "task"):
        # A cell that could not be had may not know its test set.
        ok = [r for r in rows if r["task"] == task and r["status"] == "ok"]
        for column in ("n_test", "chance") if ok else ():
            one_value(scores, ok, column)
    paper = published.scores(reference)
    lines = _lines(rows, paper, own_tasks)
    notes = _notes(lines, rows)
    if any(line["published"] is not None for line in lines):
        known = [line["task"] for line in lines if line["published"] is not None]
        known += ["avg"] if _tasks(lines) >= AVERAGED else []
        notes += published.remarks(reference, in_order(rows, "model"), known)
    whose = published.WHOSE.get(reference.name, reference.name)
    write(_sheet(lines, rows, paper, whose, notes), lines, stem)


def rank(values: dict[str, float | None]) -> dict[str, Mark]:
    """Best and second of several models, as far as two decimals tell; ties share a rank."""
    shown = {name: round(value, 2) for name, value in values.items() if value is not None}
    places = sorted(set(shown.values()), reverse=True) if len(values) > 1 else []
    marks = dict(zip(places, ("best", "second"), strict=False))
    return {name: marks.get(shown.get(name), "") for name in values}


def _lines(rows: list[dict], paper: dict[str, dict], own_tasks: Collection[str]) -> list[dict]:
    lines = []
    models = in_order(rows, "model")
    for task in in_order(rows, "task"):
        own = {m: [r for r in rows if (r["task"], r["model"]) == (task, m)] for m in models}
        outcomes = {model: outcome(seeds) for model, seeds in own.items() if seeds}
        marks = rank({model: found.number for model, found in outcomes.items()})
        for model, found in outcomes.items():
            first, mean = own[model][0], found.accuracy
            theirs = figure(paper.get(model, {}), task)
            facts = first["n_test"], first["chance"], first["protocol"]
            met = replication(found, theirs, *facts, own_task=task in own_tasks)
            comparable = first["protocol"] != "quick" and task not in own_tasks
            line = {key: first[key] for key in ("experiment", "protocol", "task", "model")}
            line |= {"verdict": found.verdict, "mean": None, "std": None, "low": None, "high": None}
            line |= {"n_ok": 0, "n_stuck": None, "n_seeds": found.seeds}
            if mean:
                line |= {"mean": mean.mean, "std": mean.std, "low": mean.low, "high": mean.high}
                line |= {"n_ok": mean.n, "n_stuck": sum(map(_stuck, own[model]))}
            line |= {"n_test": first["n_test"], "chance": first["chance"], "rank": marks[model]}
            line |= {"validation": first["validation"], "params": first["params"]}
            line |= {"published": theirs}
            line |= {"difference": _minus(found.number, theirs) if comparable else None}
            line |= {"replication": met.verdict, "replication_why": met.why}
            lines.append(line)
    return lines


def _stuck(row: dict) -> bool:
    """Trained to the end, and no better than chance."""
    facts = row["accuracy"], row["n_test"], row["chance"]
    return row["status"] == "ok" and not above_chance(*facts)


def _sheet(
    lines: list[dict], rows: list[dict], paper: dict[str, dict], whose: str, notes: list[str]
) -> Sheet:
    at = {(line["model"], line["task"]): line for line in lines}
    models, tasks = in_order(rows, "model"), in_order(rows, "task")
    protocol = rows[0]["protocol"]
    seeds = {line["n_seeds"] for line in lines}

    averages = {model: _average([at.get((model, task)) for task in tasks]) for model in models}
    average_marks = rank(averages)
    table = []
    for model in models:
        entries = [_entry(at.get((model, task)), len(seeds) > 1) for task in tasks]
        if len(tasks) > 1:
            theirs = figure(paper.get(model, {}), "avg") if set(tasks) >= AVERAGED else None
            same = set(tasks) == AVERAGED and protocol != "quick"
            difference = _minus(averages[model], theirs) if same else None
            text = "-" if averages[model] is None else f"{averages[model]:.2f}"
            under = _published_text(theirs, difference)
            entries.append(Entry(text, under, average_marks[model]))
        table.append(Row(model, entries))

    sure = {r["task"]: r for r in rows} | {r["task"]: r for r in rows if r["status"] == "ok"}
    facts = [f"{t} {r['chance']:.1f} %, n = {r['n_test']:,}" for t, r in sure.items()]
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {protocol}; test accuracy in percent, "
        f"{_seed_words(rows)}. Chance (the majority class) and test examples: {'; '.join(facts)}."
    )
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
    columns = [*tasks, "average"] if len(tasks) > 1 else tasks
    return Sheet("accuracy", "Accuracy", caption, columns, table, notes)


def _notes(lines: list[dict], rows: list[dict]) -> list[str]:
    notes = []
    if any(line["verdict"] == "FAIL" for line in lines):
        notes.append("FAIL: not significantly above chance (one-sided binomial test, p < 0.01).")
    met = [line for line in lines if line["replication"] not in (None, "not comparable")]
    if met:
        counts = {verdict: sum(x["replication"] == verdict for x in met) for verdict in SIGNS}
        notes.append(
            f"≈ reproduced ({counts['reproduced']} of {len(met)}): the published figure is within "
            f"our 95 % interval or {CLOSE:g} point of our mean, or both are at chance; ↑ ours is "
            f"above ({counts['above']}), ↓ below ({counts['below']})."
        )
    odd = [x for x in lines if x["replication"] == "not comparable" and x["protocol"] != "quick"]
    if odd:
        cells = [f"{x['model']} on {x['task']} ({x['replication_why']})" for x in odd]
        notes.append(f"Not comparable with what was published: {'; '.join(cells)}.")
    for task in in_order(rows, "task"):
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
    if len(_tasks(lines)) > 1 and any(line["verdict"] != "ok" for line in lines):
        notes.append("No average (-) where a task has no accuracy above chance from every seed.")
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
    text, under = line["verdict"], []
    if text == "ok":
        text = f"{line['mean']:.2f}"
        text += f" ± {line['std']:.2f}" if line["std"] is not None else ""
        text += f" (n = {line['n_seeds']})" if say_seeds else ""
        # An accuracy ends at 0 and 100 %; the csv has the interval as it comes.
        ends = line["low"] is not None and (max(line["low"], 0), min(line["high"], 100))
        under += ["[{:.1f}, {:.1f}]".format(*ends)] if ends else []
    theirs = _published_text(line["published"], line["difference"])
    under.append(f"{theirs} {SIGNS.get(line['replication'], '')}".strip())
    return Entry(text, "\n".join(filter(None, under)), line["rank"])


def _average(lines: list[dict | None]) -> float | None:
    if any(line is None or line["verdict"] != "ok" for line in lines):
        return None
    return sum(line["mean"] for line in lines) / len(lines)


def _published_text(theirs: float | str | None, difference: float | None) -> str:
    if theirs is None:
        return ""
    text = theirs if isinstance(theirs, str) else f"{theirs:.2f}"
    return text + ("" if difference is None else f" ({signed(difference)})")


def _minus(ours: float | None, theirs: float | str | None) -> float | None:
    return None if ours is None or not isinstance(theirs, float) else ours - theirs


def _seed_words(rows: list[dict]) -> str:
    seeds = in_order(rows, "seed")
    if len(seeds) == 1:
        return f"seed {seeds[0]} only, hence no standard deviation and no interval"
    return (
        f"mean ± standard deviation over seeds {listed(seeds)}, and in brackets the 95 % interval "
        "of the mean (Student's t)"
    )


def _tasks(lines: list[dict]) -> set[str]:
    return {line["task"] for line in lines}
