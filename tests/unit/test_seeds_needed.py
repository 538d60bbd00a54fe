"""How many seeds would separate two mechanisms, against known sizes and a simulation."""

from __future__ import annotations

import random

import numpy as np
import pytest
from fabricated import score_row
from scipy.stats import ttest_ind

from lra.report.tables import neighbours
from lra.results.records import ScoreRow, write_rows
from lra.stats.seeds_needed import MOST, power, seeds_needed, typical_std


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 394), (0.5, 64), (0.8, 26), (1.0, 17)])
def test_known_sample_sizes(effect, seeds):
    """Of G*Power and Cohen 1988, table 2.4.1, for 5 % on two sides and a power of 80 %."""
    assert seeds_needed(effect, 1.0) == seeds_needed(-3 * effect, 3.0) == seeds


def test_the_ends():
    assert seeds_needed(0.0, 1.0) is seeds_needed(0.0, 0.0) is None
    assert seeds_needed(1e-3, 1.0) is None and power(1e-3, MOST) < 0.8
    assert seeds_needed(0.5, 0.0) == seeds_needed(100.0, 1.0) == 2


def test_power_and_deviation_are_those_of_a_simulation():
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = np.random.default_rng(seed)
    one, two = draw.normal(size=(4000, 5)), draw.normal(1.5, size=(4000, 5))
    found = (ttest_ind(one, two, axis=1).pvalue < 0.05).mean()
    assert found == pytest.approx(power(1.5, 5), abs=0.035)  # four standard errors
    few = draw.normal(scale=3, size=(4000, 2)).std(axis=1, ddof=1)
    assert typical_std(few, 2) == pytest.approx(3, rel=0.12)
    few[:400] *= 50  # one model in ten is learned by some seeds only
    assert typical_std(few, 2) == pytest.approx(3, rel=0.35)


def test_neighbours_are_of_mechanisms_with_every_seed_of_every_task(tmp_path):
    rows = []
    for model, base in (("linear", 60.0), ("local", 64.0), ("transformer", 60.2), ("set", 70.0)):
        for task in ("text", "image"):
            rows += [score_row(task, model, s, accuracy=base + s) for s in (0, 1)]
    rows[-1] |= {"status": "oom", "accuracy": None}
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    table, lines = neighbours.neighbours(tmp_path / "scores.parquet")
    assert [line["model"] for line in lines] == ["local", "transformer", "linear"]
    std = typical_std([0.5**0.5] * 3, 2)
    assert [line.get("seeds") for line in lines] == [
        seeds_needed(3.8, std),
        seeds_needed(0.2, std),
        None,
    ]
    assert [entry.text for entry in table.rows[1].entries] == ["60.7", "+0.20", "433"]
    write_rows(tmp_path / "scores.parquet", rows[:2], ScoreRow)
    assert neighbours.neighbours(tmp_path / "scores.parquet")[0].caption == neighbours.TOO_FEW
    at_chance = [row | {"accuracy": row["chance"]} for row in rows[:-1]]
    write_rows(tmp_path / "scores.parquet", at_chance, ScoreRow)
    assert neighbours.neighbours(tmp_path / "scores.parquet")[0].caption == neighbours.TOO_FEW
