"""Which models differ from the Transformer, over test examples and over seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lra.core.errors import LRAError
from lra.core.formats import decimals, listed, p_value, signed
from lra.core.unique import distinct, grouped
from lra.report.tables.render import Entry, Row, Table
from lra.report.tables.write import NOTHING, models_by, one_value
from lra.results import layout
from lra.results.rates import cell_file, read_chosen
from lra.results.records import PredictionRow, read_table
from lra.stats import paired
from lra.stats.paired import ALPHA, Paired
from lra.stats.summary import Outcome, outcomes, unlearned


def significance(scores: Path, cells: Path) -> tuple[Table, list[dict]]:
    """Compare each model with the transformer, or where there is none with the first, per task.

    cells: the experiment's folder, with the predictions of its cells. A model is compared where
    every seed of both is ok. Holm's correction is over all comparisons of the table, of each test
    apart.
    Raises LRAError where two cells of a task were not scored on the same examples.
    """
    rows = read_chosen(scores)
    if not rows:
        return NOTHING
    one_value(scores, rows, "experiment")
    models = distinct(rows, "model")
    base = "transformer" if "transformer" in models else models[0]
    lines, found = [], outcomes(rows)
    for (task,), own in grouped(rows, "task").items():
        by_model = {model: seeds for (model,), seeds in grouped(own, "model").items()}
        lines += _lines(cells, task, by_model, base, found)
    for test in ("examples", "seeds"):
        tested = [line for line in lines if line[f"p_{test}"] is not None]
        corrected = paired.holm([line[f"p_{test}"] for line in tested])
        for line, p in zip(tested, corrected, strict=True):
            line[f"holm_{test}"] = p
    grey = unlearned(found)
    for line in lines:
        line["apart"] = (
            None if line["holm_seeds"] is None else line["task"] not in grey and _apart(line)
        )
    return _table(lines, models, base, grey), lines


def _apart(line: dict) -> bool:
    seeds = Paired(line["difference"], line["seeds_low"], line["seeds_high"], line["p_seeds"])
    examples = Paired(line["difference"], line["low"], line["high"], line["p_examples"])
    return paired.told_apart(seeds, line["holm_seeds"], examples)


def right(root: Path, rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """(seeds, n_test) bool, which answers of a model's cells are right, and the labels (n_test).

    Raises LRAError naming the file where two seeds were not scored on the same examples.
    """
    answers, labels = [], None
    for row in rows:
        path = cell_file(root, layout.PREDICTIONS, row)
        table = read_table(path, PredictionRow)
        own = table["label"].to_numpy()
        if len(own) == 0:
            raise LRAError(f"{path}: empty though status is ok; delete it to make it again")
        if labels is not None and not np.array_equal(own, labels):
            raise LRAError(f"{path}: not of the same test examples as seed {rows[0]['seed']}")
        labels = own
        answers.append(table["prediction"].to_numpy() == own)
    return np.array(answers), labels


def _lines(
    root: Path,
    task: str,
    own: dict[str, list[dict]],
    base: str,
    found: dict[tuple[str, str], Outcome],
) -> list[dict]:
    lines = []
    whole = [m for m, seeds in own.items() if all(row["status"] == "ok" for row in seeds)]
    known = {model: right(root, own[model]) for model in whole}
    for model, seeds in own.items():
        line = {"experiment": seeds[0]["experiment"], "task": task, "model": model, "over": base}
        line |= {"verdict": found[model, task].verdict, "n_seeds": len(seeds)}
        line |= dict.fromkeys(("n_test", "accuracy", "test_low", "test_high"))
        line |= dict.fromkeys(("difference", "low", "high", "p_examples", "holm_examples"))
        line |= dict.fromkeys(("seeds_low", "seeds_high", "p_seeds", "holm_seeds"))
        if model in known:
            correct, labels = known[model]
            low, high = paired.accuracy_interval(correct)
            line |= {"n_test": len(labels), "accuracy": 100 * float(correct.mean())}
            line |= {"test_low": low, "test_high": high}
        if model in known and base in known and model != base:
            line |= _against(known[model], known[base], f"{model} and {base} on {task}")
            if distinct(seeds, "seed") == distinct(own[base], "seed"):
                pairs = [[r["accuracy"] for r in cells] for cells in (seeds, own[base])]
                if over := paired.seeds(*pairs):
                    line |= {"seeds_low": over.low, "seeds_high": over.high, "p_seeds": over.p}
        lines.append(line)
    return lines


def _against(ours: tuple, theirs: tuple, names: str) -> dict[str, float]:
    if not np.array_equal(ours[1], theirs[1]):
        raise LRAError(f"{names}: predictions.parquet are not of the same test examples")
    found = paired.examples(ours[0], theirs[0])
    difference = {"difference": found.difference, "low": found.low, "high": found.high}
    return difference | {"p_examples": found.p}


def _table(lines: list[dict], models: list[str], base: str, grey: set[str]) -> Table:
    table = [
        Row(
            row.name,
            row.entries,
            "accuracy in percent" if row.name == base else f"points above {base}",
        )
        for row in models_by(
            "task",
            lines,
            sorted(models, key=lambda m: m != base),
            lambda line: _entry(line, line["task"] in grey),
        )
    ]
    over_seeds = [line for line in lines if line["p_seeds"] is not None]
    caption = (
        f"Experiment {lines[0]['experiment']}. Accuracy of {base}, and percentage points of each "
        "other model above it. In brackets: 95 % interval over test examples, for these trained "
        "models (exact for one seed, else bootstrap). "
        f"p: over test examples{'; over seeds' if over_seeds else ''}, uncorrected."
    )
    if grey:
        caption += (
            f" No model learned {listed(t for t in distinct(lines, 'task') if t in grey)} (grey)."
        )
    notes = [
        "p over test examples asks whether these trained models differ: the exact test that swaps "
        "the two at each example (McNemar's for one seed), an example with its mean over seeds. It "
        "says nothing of other trainings of the same models and gets no sign.",
    ]
    if over_seeds:
        notes.append(
            f"† the mechanisms differ: over seeds, p < {ALPHA} in the paired t test after Holm's "
            f"correction for {len(over_seeds)} comparisons, and no interval holds 0. With few "
            "seeds it rarely finds a difference."
        )
    else:
        notes.append("One seed: it does not show whether another training would differ.")
    if any(line["accuracy"] is None for line in lines):
        notes.append("- where not every seed of both models is ok.")
    return Table(caption, distinct(lines, "task"), table, notes)


def _entry(line: dict, grey: bool) -> Entry:
    if line["accuracy"] is None:
        return Entry(line["verdict"], grey=grey)
    digits = decimals(line["n_test"])
    if line["model"] == line["over"]:
        ends = f"[{line['test_low']:.1f}, {line['test_high']:.1f}]"
        return Entry(f"{line['accuracy']:.{digits}f}", ends, grey=grey)
    if line["difference"] is None:
        return Entry("-", grey=grey)
    ps = [p_value(line[key]) for key in ("p_examples", "p_seeds") if line[key] is not None]
    ends = [signed(line[end], max(digits, 1)) for end in ("low", "high")]
    below = f"[{listed(ends)}]\np {'; '.join(ps)}"
    text = f"{signed(line['difference'], digits)} {'†' if line['apart'] else ''}".strip()
    return Entry(text, below, grey=grey)
