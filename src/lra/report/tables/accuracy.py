"""Test accuracy of every model on every task, beside a published one: Table 1 of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lra.core.formats import decimals, listed, signed
from lra.core.unique import distinct, grouped
from lra.report.tables import accuracy_notes, rates
from lra.report.tables.accuracy_notes import AVERAGE
from lra.report.tables.letters import Letters
from lra.report.tables.render import Entry, Mark, Table
from lra.report.tables.write import NOTHING, models_by, one_value
from lra.report.variants import with_best
from lra.results.rates import chosen, sweeps
from lra.results.records import ScoreRow, read_table
from lra.stats import over_examples, published
from lra.stats.over_examples import Share, told_apart
from lra.stats.published import AVERAGED, LEVEL, Replication, replication
from lra.stats.summary import FEWEST, Outcome, Summary, outcomes, seed_means, summary, unlearned

NO_SUMMARY = Summary(None, None, 0, None, None)


def accuracy(scores: Path, reference: Path, simple: Path) -> tuple[Table, list[dict]]:
    """The accuracies of scores.parquet, by task and model, and their averages over the tasks.

    simple: baselines.parquet, for the notes.

    Nothing published stands beside what does not compare: the protocol `quick`, and a task on a
    variant of its data set. A mean counts only where every seed is ok and it is above chance (see
    stats.summary.outcomes); ranks and differences use no other. Intervals are over seeds from three
    seeds on, else over test examples. An average is over the tasks that some model learned, seed by
    seed. Raises LRAError where the scores mix experiments, protocols or test sets.
    """
    every = read_table(scores, ScoreRow).to_pylist()
    rows, variants = with_best(chosen(every))
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment", "protocol")
    # The record of a cell that failed may lack its test set.
    for own in grouped((r for r in rows if r["status"] == "ok"), "task").values():
        one_value(scores, own, "n_test", "chance")
    paper = published.scores(reference)  # a missing file is said in any case
    cells = outcomes(rows)
    grey = unlearned(cells)
    over = averaged(rows, grey)
    lines = _lines(rows, cells, {} if rows[0]["protocol"] == "quick" else paper, over)
    letters, notes, folded = accuracy_notes.notes(lines, rows, over, grey, reference, simple)
    models, columns = distinct(rows, "model"), distinct(lines, "task")
    several = len(distinct(lines, "n_seeds")) > 1
    digits = {r["task"]: decimals(r["n_test"]) for r in rows if r["status"] == "ok"}
    digits[AVERAGE] = min((digits[task] for task in over if task in digits), default=0)
    table = models_by("task", lines, models, lambda x: _entry(x, several, letters, grey, digits))
    headings = [column + letters.at(column) for column in columns]
    caption = _caption(lines, rows, over, grey, reference)
    notes += rates.notes(sweeps(every)) + letters.notes
    return Table(caption, headings, table, notes, folded=variants + folded), lines


def rank(values: Mapping[str, float | None]) -> dict[str, Mark]:
    """Best and second of several models, by values of two decimals; ties share a rank."""
    shown = {name: round(value, 2) for name, value in values.items() if value is not None}
    places = sorted(set(shown.values()), reverse=True) if len(values) > 1 else []
    marks = dict(zip(places, ("best", "second"), strict=False))
    return {name: marks.get(shown.get(name), "") for name in values}


def averaged(rows: list[dict], grey: set[str]) -> list[str]:
    """The tasks that an average is over: the paper's five where all are there, else all.

    Without those that no model learned (`grey`). No variant of a task counts, but its best one does
    (lra.report.variants).
    """
    tasks = distinct((row for row in rows if not row.get("variant_of")), "task")
    tasks = [t for t in tasks if t in AVERAGED] if set(tasks) >= AVERAGED else tasks
    return [t for t in tasks if t not in grey]


def _lines(
    rows: list[dict], cells: dict[tuple[str, str], Outcome], paper: dict[str, dict], over: list[str]
) -> list[dict]:
    """One a task and model, and of several tasks one a model for their average."""
    lines, shares = [], {}
    own_tasks = published.own_variants(rows)
    for (task,), of_task in grouped(rows, "task").items():
        own = {model: seeds for (model,), seeds in grouped(of_task, "model").items()}
        found = {model: cells[model, task] for model in own}
        for model, each in found.items():
            if each.finished:
                shares[model, task] = over_examples.share(
                    each.accuracy.mean, own[model][0]["n_test"]
                )
        at = {model: shares.get((model, task)) for model in own}
        values = {
            model: [row["accuracy"] for row in seeds if row["status"] == "ok"]
            for model, seeds in own.items()
        }
        facts = {model: seeds[0] for model, seeds in own.items()}
        theirs = {} if task in own_tasks else paper
        lines += _column(task, found, values, at, facts, theirs)
    if len(over) > 1:
        own = {model: seeds for (model,), seeds in grouped(rows, "model").items()}
        values = {model: seed_means(seeds, over) for model, seeds in own.items()}
        mixed = {model for (model, task), each in cells.items() if task in over and each.mixed}
        seeds = {model: len(distinct(of, "seed")) for model, of in own.items()}
        found = {
            model: Outcome("ok", summary(means), seeds[model], mixed=model in mixed)
            if means
            else Outcome("incomplete", None, seeds[model])
            for model, means in values.items()
        }
        at = {
            model: over_examples.average([shares[model, task] for task in over]) if means else None
            for model, means in values.items()
        }
        no_task = dict.fromkeys(("n_test", "chance", "validation", "params"))
        facts = {model: of[0] | no_task for model, of in own.items()}
        theirs = paper if set(over) == AVERAGED and not own_tasks & set(over) else {}
        lines += _column(AVERAGE, found, values, at, facts, theirs)
    return lines


def _column(
    task: str,
    found: dict[str, Outcome],
    values: dict[str, list[float]],
    shares: dict[str, Share | None],
    facts: dict[str, dict],
    paper: dict[str, dict],
) -> list[dict]:
    """The lines of a task or of the average; each argument by model.

    values: accuracies of the seeds that are ok. shares: over test examples, None where a seed is
    not ok. facts: what the model's rows have in common.
    """
    marks, apart = _ranked(found, shares)
    lines = []
    for model, ours in found.items():
        own, mean = facts[model], ours.accuracy or NO_SUMMARY
        theirs = published.value(paper.get(model, {}), accuracy_notes.published_as(task))
        verdict = replication(ours, theirs, own["n_test"], own["chance"])
        numbers = ours.number is not None and isinstance(theirs, float)
        few, share = mean.n < FEWEST, shares[model]
        ends = (share and share.low, share and share.high) if few else (mean.low, mean.high)
        line = {key: own[key] for key in ("experiment", "protocol")}
        line |= {"task": task, "model": model, "verdict": ours.verdict}
        line |= {"mean": mean.mean, "std": mean.std, "low": ends[0], "high": ends[1]}
        line |= {"interval": None if None in ends else "examples" if few else "seeds"}
        at_90 = (None, None) if few else mean.interval(LEVEL)
        line |= dict(zip(("low_90", "high_90"), at_90, strict=True))
        line |= {"by_seed": " ".join(f"{value:.2f}" for value in values[model])}
        line |= {"n_ok": mean.n, "n_stuck": ours.stuck if mean.n and task != AVERAGE else None}
        line |= {"n_seeds": ours.seeds, "n_test": own["n_test"], "chance": own["chance"]}
        line |= {"rank": marks[model], "apart": apart[model]}
        line |= {"validation": own["validation"], "params": own["params"]}
        line |= {"published": theirs, "difference": ours.number - theirs if numbers else None}
        line |= {"replication": verdict.verdict, "replication_why": verdict.why}
        lines.append(line)
    return lines


def _ranked(
    found: dict[str, Outcome], shares: dict[str, Share | None]
) -> tuple[dict[str, Mark], dict[str, bool | None]]:
    """Marks by model, and whether it is told apart from the best over test examples.

    The latter only where a model has too few seeds for an interval over seeds, and then only a best
    that is told apart from the second is marked.
    """
    marks = rank({model: ours.number for model, ours in found.items()})
    ok = [model for model, ours in found.items() if ours.verdict == "ok"]
    apart: dict[str, bool | None] = dict.fromkeys(found)
    if not ok or all(found[model].accuracy.n >= FEWEST for model in ok):
        return marks, apart
    best = max(ok, key=lambda model: found[model].number)
    for model in ok:
        apart[model] = told_apart(shares[best], shares[model]) if model != best else None
    if not all(apart[model] for model in ok if model != best):
        marks = dict.fromkeys(found, "")
    return marks, apart


def _caption(
    lines: list[dict], rows: list[dict], over: list[str], grey: set[str], reference: Path
) -> str:
    seeds, protocol = distinct(rows, "seed"), rows[0]["protocol"]
    few = len(seeds) < FEWEST
    whose = (
        "over test examples (Wilson)" if few else "of the mean (Student's t, cut at 0 and 100 %)"
    )
    shown = (
        "mean ± standard deviation over seeds"
        if not few
        else "of seeds"
        if len(seeds) > 1
        else "seed"
    )
    text = f"{shown} {listed(seeds)}" + (" only" if len(seeds) == 1 else "")
    known = {r["task"]: r for r in rows} | {r["task"]: r for r in rows if r["status"] == "ok"}
    tests = [f"{t} {r['chance']:.1f} %, n = {r['n_test']:,}" for t, r in known.items()]
    caption = (
        f"Experiment {rows[0]['experiment']}, protocol {protocol}; test accuracy in percent, "
        f"{text}, and in brackets the 95 % interval {whose}. Chance (the majority class) and test "
        f"examples: {'; '.join(tests)}."
    )
    if AVERAGE in distinct(lines, "task"):
        caption += f" Average: over {listed(over)}, seed by seed."
    if grey:
        caption += f" No model learned {listed(t for t in known if t in grey)} (grey)."
    if any(line["published"] is not None for line in lines):
        caption += f" Last line: {published.whose(reference)}, and in parentheses ours minus that."
    elif protocol == "quick":
        caption += " Small models on small data: not comparable with the paper's values."
    if len(distinct(rows, "model")) == 1:
        return caption
    caption += " Best in bold, second underlined"
    if few:
        return f"{caption}, where the interval of their difference (Newcombe) does not hold 0."
    return f"{caption}."


def _entry(
    line: dict, say_seeds: bool, letters: Letters, grey: set[str], digits: dict[str, int]
) -> Entry:
    """digits: decimals by task."""
    model, task, below = line["model"], line["task"], []
    text = "-" if line["verdict"] == "incomplete" else line["verdict"]
    if text == "ok":
        n = digits[task]
        if line["interval"] == "seeds":
            text = f"{line['mean']:.{n}f} ± {line['std']:.{n}f}"
            text += f" (n = {line['n_seeds']})" if say_seeds else ""
        else:
            text = " / ".join(f"{float(value):.{n}f}" for value in line["by_seed"].split())
        # An accuracy ends at 0 and 100 %; the csv has the interval as it comes.
        ends = max(line["low"], 0), min(line["high"], 100)
        below.append("[{:.{n}f}, {:.{n}f}]".format(*ends, n=min(n, 1)))
    theirs, gap = line["published"], line["difference"]
    sign = Replication(line["replication"], line["replication_why"]).sign
    parts = [f"{theirs:.2f}" if isinstance(theirs, float) else theirs]
    parts += ["" if gap is None else f"({signed(gap)})", sign]
    raised = letters.at((model, task, "published"))
    below.append(" ".join(filter(None, parts)) + raised)
    text += letters.at((model, task))
    return Entry(text, "\n".join(filter(None, below)), line["rank"], task in grey)
