"""Verdicts against published figures, significance and shortcomings."""

import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args, get_type_hints

import numpy as np
import pytest
from fabricated import PAPER, experiment, predictions, score_row, table
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lra.attention import Info
from lra.core.errors import LRAError
from lra.report.tables.agreement import rank_agreement
from lra.report.tables.shortcomings import COMPLAINTS
from lra.results.records import ScoreRow, write_rows
from lra.stats import published
from lra.stats.agreement import agreement
from lra.stats.published import MATERIALISED, replication
from lra.stats.summary import outcomes
from tiny import examples


@pytest.mark.parametrize(
    ("ours", "published", "wanted", "why"),
    [
        ([60.0, 60.5, 61.0], 61.0, "reproduced", "within 2 points"),
        # The 90 % interval is 60.5 +- 0.84.
        ([60.0, 60.5, 61.0], 59.35, "reproduced", "within 2 points"),
        ([60.0, 60.5, 61.0], 59.3, "inconclusive", "90 % interval too wide"),
        ([60.0, 60.5, 61.0], 57.7, "inconclusive", "90 % interval too wide"),
        ([60.0, 60.5, 61.0], 57.6, "above", "by over 2 points"),
        ([60.0, 60.5, 61.0], 63.4, "below", "by over 2 points"),
        ([60.0, 64.0, 68.0], 64.0, "inconclusive", "90 % interval too wide"),
        ([60.0], 60.0, "inconclusive", "fewer than 3 seeds"),
        ([60.0, 60.1], 60.0, "inconclusive", "fewer than 3 seeds"),
        # Stuck and learned; the interval alone would be 54.5 +- 0.92.
        ([50.0, *[55.0] * 9], 54.5, "inconclusive", "some seeds at chance, others not"),
        ([50.0, *[55.0] * 9], 70.0, "below", "by over 2 points"),
        # Either side of the level that is above chance, but one kind of training.
        ([52.5, 52.7, 52.9], 52.8, "reproduced", "within 2 points"),
        ([50.0, 50.2, 50.1], "FAIL", "reproduced", "both at chance"),
        ([50.0, 50.2, 50.1], 50.4, "reproduced", "both at chance"),
        ([46.0, 46.1, 46.2], 50.4, "reproduced", "both at chance"),
        ([50.0, 51.3, 52.6], "FAIL", "inconclusive", "90 % interval too wide"),
        ([50.0], "FAIL", "inconclusive", "fewer than 3 seeds"),
        ([51.9, 52.0, 52.1], 53.0, "inconclusive", "only one of the two is at chance"),
        ([52.8, 52.9, 53.0], 52.0, "inconclusive", "only one of the two is at chance"),
        ([50.0, 50.2, 50.1], 70.0, "below", "by over 2 points"),
        ([70.0, 70.5, 70.2], "FAIL", "above", "by over 2 points"),
        ([None, 70.0, 70.0], 70.0, "not comparable", "ours is 2/3 ok"),
        ([70.0], None, None, ""),
    ],
)
def test_the_verdict_on_a_published_figure(ours, published, wanted, why):
    rows = [score_row(seed=i, accuracy=a, status="ok" if a else "oom") for i, a in enumerate(ours)]
    facts = outcomes(rows)["linear", "text"], published, 2000, 50.0
    found = replication(*facts)
    assert (found.verdict, found.why) == (wanted, why)


def test_a_difference_is_found_and_none_is_not(tmp_path):
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 600)
    levels = {"transformer": 0.7, "local": 0.7, "linear": 0.5}
    models = {m: [random.random(600) < p for _ in range(3)] for m, p in levels.items()}
    predictions(tmp_path, models, labels)
    lines, text = table("significance", tmp_path)
    found = {x["model"]: x for x in lines}
    assert float(found["linear"]["holm_examples"]) < 1e-6 < 0.05 < float(found["local"]["p_seeds"])
    gap = 100 * (np.mean(models["linear"]) - np.mean(models["transformer"]))
    assert float(found["linear"]["difference"]) == pytest.approx(gap)
    assert float(found["linear"]["low"]) < gap < float(found["linear"]["high"])
    assert found["transformer"]["p_examples"] == ""
    order = ["**accuracy in percent**", "| transformer", "**points above transformer**", "| local"]
    assert sorted(order, key=text.index) == order
    predictions(tmp_path, {"local": models["local"]}, 1 - labels)
    cells_of_all = [score_row(model=m, seed=i) for m in models for i in range(3)]
    write_rows(tmp_path / "scores.parquet", cells_of_all, ScoreRow)
    with pytest.raises(LRAError, match="not of the same test examples"):
        table("significance", tmp_path)


@given(
    st.integers(2, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from((100, 140, 141, 145, 146, 190)), min_size=n, max_size=n),
            min_size=2, max_size=3,
        )
    ),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@example([[140, 141, 140], [145, 146, 146]], 0)  # alike seeds, and an interval that holds 0
@examples(25)
def test_no_table_tells_apart_what_an_interval_with_zero_does_not(levels, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, 200)
    names = ["transformer", "local", "linear"]
    models = {
        names[m]: [random.permutation(200) < right for right in of_seeds]
        for m, of_seeds in enumerate(levels)
    }
    with TemporaryDirectory() as folder:
        predictions(Path(folder), models, labels)
        lines, text = table("significance", Path(folder))
    grey = all(line["verdict"] == "FAIL" for line in lines)
    for line in (x for x in lines if x["model"] != "transformer"):
        (row,) = (x for x in text.splitlines() if x.startswith(f"| {line['model']} "))
        assert ("†" in row) == (line["apart"] == "True")
        ends = [
            [float(line[f"{of}{end}"] or "nan") for end in ("low", "high")] for of in ("", "seeds_")
        ]
        holds_zero = any(low <= 0 <= high for low, high in ends)
        significant = float(line["holm_seeds"]) < 0.05
        assert (line["apart"] == "True") == (significant and not holds_zero and not grey)


def test_only_a_difference_over_seeds_gets_a_sign(tmp_path):
    """Over examples both differ at p < 0.001; over seeds one of them, whose seeds agree."""
    labels = np.zeros(1000, int)
    levels = {"transformer": (900, 901, 902), "local": (700, 702, 701), "linear": (200, 890, 880)}
    models = {m: [np.arange(1000) < n for n in of] for m, of in levels.items()}
    predictions(tmp_path, models, labels)
    lines, text = table("significance", tmp_path)
    found = {x["model"]: x for x in lines}
    assert all(float(found[m]["p_examples"]) < 0.001 for m in ("local", "linear"))
    assert (found["local"]["apart"], found["linear"]["apart"]) == ("True", "False")
    assert "−20.0 †" in text and "‡" not in text and text.count("†") == 2


def test_ranks_beside_the_papers(tmp_path):
    """The paper's order, then its opposite; chance, losses and what it has not do not count."""
    paper = published.scores(PAPER)
    models = [m for m in paper if m != MATERIALISED]
    order = sorted(models, key=lambda m: float(paper[m]["text"]))
    rows = []
    for place, model in enumerate([*order, "identity"]):
        for task, accuracy in (
            ("text", 55.0 + place),
            ("image", 40.0 - 2 * place),
            ("listops", 17.0),
        ):
            rows.append(score_row(task, model, 1, accuracy=accuracy))
    rows[0] |= {"status": "oom", "accuracy": None}
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    lines, text = table("rank_agreement", tmp_path)
    found = {line["task"]: line for line in lines}
    assert set(found) == {"text", "image", "mean"}
    assert (found["text"]["n"], float(found["text"]["rho"])) == ("10", pytest.approx(1))
    images = [float(paper[m]["image"]) for m in order]
    assert float(found["image"]["rho"]) == pytest.approx(spearmanr(images, range(11, 0, -1))[0])
    assert "identity" not in found["image"]["mechanisms"] and MATERIALISED not in text
    assert "Other data" not in text and "Published: the paper's accuracy (Tay et al. 2020" in text


def test_ranks_of_a_task_in_variants_are_of_the_best_and_name_their_source(tmp_path):
    """Text at two lengths, of which validation chooses; beside the reproductions' accuracies."""
    models = [m for m in published.scores(PAPER) if m != MATERIALISED]
    rows = [
        score_row(f"text-{k}k", model, 1, variant_of="text", accuracy=60.0 + sign * place,
                  val_accuracy=60.0 + k)
        for place, model in enumerate(models) for k, sign in ((1, -1), (2, 1))
    ]  # fmt: skip
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    found = rank_agreement(tmp_path / "scores.parquet", PAPER)[1]
    theirs = [float(published.scores(PAPER)[m]["text"]) for m in models]
    (line,) = found
    assert line["task"] == "text"
    assert line["rho"] == pytest.approx(spearmanr(range(len(models)), theirs)[0])
    standard = PAPER.with_name("standard.csv")
    rows = [
        score_row("text", m, 1, accuracy=60.0 + i) for i, m in enumerate(published.scores(standard))
    ]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    caption = rank_agreement(tmp_path / "scores.parquet", standard)[0].caption
    assert "mlpen" in caption and "Tay" not in caption


def test_the_interval_of_a_rank_correlation_holds_what_is_true():
    """Of ranks drawn with a known correlation; the seed is printed. Bonett and Wright promise 95 %."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = np.random.default_rng(seed)
    true = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's, of normal values with Pearson's 0.6
    held = 0
    for _ in range(400):
        x, y = draw.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], size=20).T
        found = agreement(dict(enumerate(x)), dict(enumerate(y)))
        held += found.low < true < found.high
    assert held > 360


def test_few_or_equal_mechanisms_have_no_rank_correlation():
    values = {name: float(place) for place, name in enumerate("abcde")}
    assert agreement(values, values).rho == 1
    assert agreement(values, dict.fromkeys(values, 1.0)) is None
    assert agreement(values, {k: v for k, v in values.items() if k != "a"}) is None


def test_shortcomings_by_family(tmp_path):
    models = ["transformer", "linear", "performer", "local"]
    experiment(
        tmp_path, models, ["text"], bad={("text", "local", 0): "oom", ("local", 4096): "oom"}
    )
    lines, text = table("shortcomings", tmp_path)
    found = {x["family"]: x for x in lines}
    kernel, fixed = found["kernel"], found["fixed pattern"]
    assert kernel["models"] == "linear performer" == kernel["causal"]
    assert float(kernel["time_exponent_high"]) == pytest.approx(1.05)
    assert float(found["full"]["time_exponent_low"]) == pytest.approx(2)
    assert kernel["longest"] == "4096" and kernel["difference"] != ""
    assert fixed["difference"] == "" and (fixed["n_not_ok"], fixed["points_not_ok"]) == ("1", "2")
    (line,) = (x for x in text.splitlines() if x.startswith("| fixed pattern "))
    assert fixed["longest"] == "3072" and line.count("<br><sub>at 3,072</sub>") == 2
    assert text.count("<sub>at ") == 2 and "reaches no further<br><sub>than its pattern" in line
    assert "No exponents" not in text


def test_a_cell_that_was_not_finished_takes_no_other_away(tmp_path):
    models = ["transformer", "linear", "performer"]
    experiment(tmp_path, models, ["text"], lengths=(256, 1024))
    figures = {
        "text": (70.0, None, 73.0),
        "listops": (40.0, 42.0, 17.0),
        "image": (None, 30.0, 30.0),
    }
    rows = [
        score_row(task, model, accuracy=accuracy, status="oom" if accuracy is None else "ok")
        for task, accuracies in figures.items()
        for model, accuracy in zip(models, accuracies, strict=True)
    ]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    (_, kernel), text = table("shortcomings", tmp_path)
    assert float(kernel["difference"]) == pytest.approx((2 + 3 - 23) / 3)
    assert (kernel["n_compared"], kernel["n_cells"], kernel["n_fail"]) == ("3", "6", "1")
    assert "−6.00 (3/6)" in text and "(n/m): accuracy over n of the family's m cells" in text
    assert "accuracy counts what is at chance (FAIL) as measured." in text
    assert "No exponents: 2 lengths were profiled" in text and "least squares" not in text


def test_every_family_has_the_surveys_complaint():
    assert set(COMPLAINTS) == set(get_args(get_type_hints(Info)["family"]))
