"""The table of train against test accuracy."""

import pytest
from fabricated import MODELS, experiment, score_row, table

from lra.core.errors import LRAError
from lra.report.tables.overfitting import trained_to
from lra.results.records import HistoryRow, ScoreRow, write_rows

# Steps and accuracies; validated at 10 and 20, and a row of training each 4 steps.
TRAIN = {4: 10.0, 8: 20.0, 10: 30.0, 14: 40.0, 18: 60.0, 20: 90.0}
VAL = {10: 33.0, 20: 44.0}


def curve(train=TRAIN, val=VAL, **cell) -> list[dict]:
    both = [(s, "train", a) for s, a in train.items()] + [(s, "val", a) for s, a in val.items()]
    line = {"loss": 1.0, "learning_rate": 1e-3, "seconds": 1.0}
    return [line | {"step": s, "split": which, "accuracy": a} | cell for s, which, a in both]


def made(folder, rows, curves) -> tuple[dict, str]:
    write_rows(folder / "scores.parquet", rows, ScoreRow)
    write_rows(folder / "history.parquet", [line for own in curves for line in own], HistoryRow)
    lines, text = table("overfitting", folder)
    return {(x["task"], x["model"]): x for x in lines}, text


def test_train_accuracy_is_that_of_the_steps_since_the_validation_before():
    assert trained_to(curve(), 20) == pytest.approx((4 * 40 + 4 * 60 + 2 * 90) / 10)
    assert trained_to(curve(), 10) == pytest.approx((4 * 10 + 4 * 20 + 2 * 30) / 10)
    assert trained_to(curve()[::-1], 20) == trained_to(curve(), 20)


def test_there_is_none_where_the_history_does_not_reach_the_checkpoint():
    assert trained_to(curve(), None) is None and trained_to([], 20) is None
    assert trained_to(curve(train={14: 40.0, 18: 60.0}), 20) is None


def test_the_gap_is_of_the_scored_checkpoint_and_of_each_seed(tmp_path):
    rows, curves = [], []
    for seed, test in enumerate((20.0, 26.0)):
        # The second seed is scored at step 10, with 18 % in training; the first at 20, with 58 %.
        own = {"accuracy": test, "val_accuracy": 30.0, "chosen_step": (20, 10)[seed]}
        rows.append(score_row("image", seed=seed, **own))
        curves.append(curve(task="image", model="linear", seed=seed))
    found, text = made(tmp_path, rows, curves)
    line = found["image", "linear"]
    assert (float(line["train"]), float(line["test"])) == (38.0, 23.0)
    assert float(line["gap"]) == 15.0 and float(line["gap_std"]) == pytest.approx(46 / 2**0.5)
    shown = [f"{x} " for x in ("38.00 ± 28.28", "30.00 ± 0.00", "23.00 ± 4.24", "+15.00 ± 32.53")]
    assert sorted(shown, key=text.index) == shown
    assert "paper's Table 3" in text and "over seeds 0, 1" in text


def test_the_largest_gap_of_a_task_is_first_and_what_is_unknown_last(tmp_path):
    tests = {"small": 55.0, "lost": None, "large": 20.0, "below": 60.0}
    rows = [
        score_row(m, "linear", accuracy=a, chosen_step=20, status="ok" if a else "oom")
        | {"task": "text", "model": m}
        for m, a in tests.items()
    ]
    rows.append(score_row(model="old"))  # of a table without chosen_step
    cells = [curve(task="text", model=m, seed=0) for m in tests]
    found, text = made(tmp_path, rows, cells)
    order = ["| large ", "| small ", "| below ", "| lost ", "| old "]
    assert sorted(order, key=text.index) == order
    assert "+38.00" in text and "−2.00" in text and "±" not in text
    assert found["text", "lost"]["status"] == "oom" and found["text", "lost"]["train"] == ""
    assert "No mean where a seed is not ok." in text
    assert "in scores and history (-): old on text." in text and "Table 3" not in text


def test_what_was_validated_on_the_test_set_is_said(tmp_path):
    own = {"task": "text", "model": "linear", "seed": 0}
    row = score_row(chosen_step=20, validation="test set")
    assert "text: validated on the test set itself." in made(tmp_path, [row], [curve(**own)])[1]
    row = score_row(chosen_step=20)
    assert "test set itself" not in made(tmp_path, [row], [curve(**own)])[1]


def test_whole_and_empty_experiments_have_the_table(tmp_path):
    experiment(tmp_path, bad={("text", "local", 1): "diverged"})
    lines, text = table("overfitting", tmp_path)
    assert len(lines) == 6 * len(MODELS) and sum(x["gap"] == "" for x in lines) == 1
    assert "2/3 ok" in text and "No model learned pathx (grey)." in text
    page = (tmp_path / "overfitting.html").read_text()
    assert page.count('class="unlearned"') == 4 * len(MODELS)
    assert made(tmp_path, [], [])[1].count("Nothing was measured.") == 1
    with pytest.raises(LRAError, match="more than one experiment"):
        made(tmp_path, [score_row(), score_row(seed=1, experiment="x")], [])
