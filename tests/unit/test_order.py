"""The table `order` and the figure `solve_rate`: which sampler is the best, and what was lost."""

from __future__ import annotations

import pytest
from drawn import figure, words
from fabricated import score_row, table

from lra.core.unique import unique
from lra.results.generations import GenerationRow
from lra.results.records import ScoreRow, write_rows


def row(model="rotary-masked", sampler="confidence", steps=1, solved=50.0, cost=None, **changes):
    cost = cost or steps or 8
    own = {"experiment": "demo", "protocol": "ar-quick", "task": "copy", "variant_of": None}
    own |= {"model": model, "mechanism": "rotary", "seed": 1, "device": "cpu: demo"}
    own |= {"objective": "masked", "sampler": sampler, "block": None, "steps": steps}
    own |= {"status": "ok", "examples": 100, "tokens": 800, "evaluations": cost}
    own |= {"token_evaluations": 64.0 * cost, "seconds": 2.0, "solved": solved, "low": 40.0}
    own |= {"high": 60.0, "right": 80.0, "bits": None} | changes
    if own["status"] == "ok":
        return own
    lost = ("tokens", "evaluations", "token_evaluations", "seconds", "solved", "low", "high")
    return own | dict.fromkeys((*lost, "right", "bits"))


NEXT = {"objective": "next", "sampler": "autoregressive", "steps": None}
ROWS = [
    row(steps=1, solved=10.0),
    row(steps=4, solved=70.0),
    row(steps=8, solved=70.0),
    row(sampler="random", steps=1, solved=10.0),
    row(sampler="random", steps=8, solved=60.0),
    row(sampler="blocks", block=4, steps=2, solved=65.0, cost=4),
    row("rotary", solved=90.0, cost=8, **NEXT),
    row("s4d", **NEXT, status="oom"),
]


def written(root, rows):
    write_rows(root / "generate.parquet", rows, GenerationRow)
    cells = unique((row["task"], row["model"], row["seed"]) for row in rows)
    write_rows(root / "scores.parquet", [score_row(*cell) for cell in cells], ScoreRow)
    return root


def cells(text: str, model: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {model} "))
    return [" ".join(cell.split()) for cell in line.strip("|").split("|")[1:]]


def test_the_best_is_the_most_solved_by_the_fewest_evaluations(tmp_path):
    lines, text = table("order", written(tmp_path, ROWS))
    best, sampler, one, every, right, speed = cells(text, "rotary-masked")
    assert best.startswith("70.0") and "4.00" in best and sampler == "confidence, steps 4"
    assert one.startswith("10.0") and every.startswith("70.0") and "8.00" in every
    assert (right, speed) == ("80.0", "400")
    best, sampler, one, *_ = cells(text, "rotary")
    assert best.startswith("90.0") and (sampler, one) == ("autoregressive", "-")
    assert cells(text, "s4d")[0] == "oom"
    assert len(lines) == len(ROWS) and lines[5]["block"] == "4"


def test_seeds_have_a_mean_only_where_all_are_ok(tmp_path):
    """A seed that is not ok has one row, and so is lost to all samplers."""
    rows = [row(seed=1, solved=10.0), row(seed=2, solved=30.0)]
    rows += [row("half", steps=n, seed=1) for n in (1, 2)]
    rows += [row("half", seed=2, status="diverged")]
    lines, text = table("order", written(tmp_path, rows))
    found = [(line["model"], line["solved"], line["n_ok"]) for line in lines]
    assert found == [("rotary-masked", "20.0", "2"), ("half", "", "1"), ("half", "", "1")]
    assert cells(text, "half")[0] == "1/2 ok"
    assert "No mean where a seed is not ok." in text


def test_bits_stand_beside_possible_sequences_and_text_without_answers_has_neither(tmp_path):
    rows = [row(task="markov", bits=1.25, right=None), row(task="bytes", solved=None, right=None)]
    _, text = table("order", written(tmp_path, rows))
    assert "1.25 bits" in text and "Bits: of a generated token" in text
    unjudged = text[text.index("bytes, masked") :]
    assert [entry[0] for entry in cells(unjudged, "rotary-masked")] == ["-"] * 5 + ["4"]


def test_nothing_is_said_where_nothing_was_generated(tmp_path):
    written(tmp_path, [])
    _, text = table("order", tmp_path)
    assert "the experiment has no section `generate`" in text
    assert "Nothing was generated" in words("solve_rate", tmp_path)
    written(tmp_path, [row(solved=None)])
    assert "Nothing was generated that is right or wrong" in words("solve_rate", tmp_path)


def test_the_figure_has_a_line_a_model_and_sampler_against_both_costs(tmp_path):
    written(tmp_path, [*ROWS, row("rotary", task="sudoku", solved=5.0, cost=9, **NEXT)])
    drawing = figure("solve_rate", tmp_path)
    by_evaluations, by_tokens, *_ = drawing.axes
    assert [axes.get_title() for axes in drawing.axes] == ["copy", "copy", "sudoku", "sudoku"]
    confidence = next(line for line in by_evaluations.lines if len(line.get_xdata()) == 3)
    assert list(confidence.get_xdata()) == [1, 4, 8]
    assert list(confidence.get_ydata()) == [10, 70, 70]
    same = next(line for line in by_tokens.lines if len(line.get_xdata()) == 3)
    assert list(same.get_xdata()) == [64, 256, 512]
    text = words("solve_rate", tmp_path)
    assert "Not ok in every seed: s4d on copy." in text and "blocks of 4 missing tokens" in text


def test_a_point_of_the_figure_is_a_mean_over_seeds_that_are_all_ok(tmp_path):
    rows = [row(seed=1, solved=10.0), row(seed=2, solved=30.0)]
    rows += [row("half", steps=n, seed=1) for n in (1, 2)]
    rows += [row("half", seed=2, status="diverged")]
    written(tmp_path, rows)
    (line,) = figure("solve_rate", tmp_path).axes[0].lines
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1], [pytest.approx(20)])


def test_of_a_sweep_the_rate_with_the_best_validation_is_shown(tmp_path):
    rows = [row(solved=90.0), row("rotary-masked@4", solved=20.0)]
    written(tmp_path, rows)
    losses = {"rotary-masked": 2.0, "rotary-masked@4": 1.0}
    own = [score_row("copy", name, 1, objective="masked", val_loss=v) for name, v in losses.items()]
    write_rows(tmp_path / "scores.parquet", own, ScoreRow)
    (line,), text = table("order", tmp_path)
    assert (line["model"], line["solved"]) == ("rotary-masked", "20.0")
    assert list(figure("solve_rate", tmp_path).axes[0].lines[0].get_ydata()) == [20]
