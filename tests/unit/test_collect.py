"""From single results to tables: nothing lost, nothing invented, nothing stale."""

import json

import pytest
from fabricated import memory_row, score_row, span_row, speed_row

from lra.core.errors import LRAError
from lra.results.collect import collect
from lra.results.points import MemoryRecord, MemoryRow, SpeedRecord, SpeedRow
from lra.results.records import (
    CurveRow,
    HistoryRow,
    ScoreRecord,
    ScoreRow,
    SpanRecord,
    SpanRow,
    TrainRecord,
    read_table,
    write_record,
    write_rows,
)

PROVENANCE = {"fingerprint": "f" * 16, "device": "cpu: demo", "torch_version": "2"}
PROVENANCE |= {"git_commit": None}
POINT = {"threads": 1, "precision": "float32", "params": 9, "reason": None} | PROVENANCE


def named(task="text", model="linear", seed=0):
    own = {"experiment": "demo", "protocol": "quick", "task": task, "model": model, "seed": seed}
    return own | {"mechanism": "linear", "dataset": "text-small"}


def write_cell(root, task="text", model="linear", seed=0, train=None, score=None):
    own = named(task, model, seed)
    folder = root / "cells" / task / model / f"seed{seed}"
    trained = {"status": "ok", "reason": None, "params": 9, "steps": 5, "chosen_step": 5}
    trained |= {"train_seconds": 1.0, "val_accuracy": 61.0} | PROVENANCE | (train or {})
    scored = {"status": "ok", "reason": None, "accuracy": 60.0, "loss": 0.7, "n_test": 100}
    scored |= (
        {"chance": 50.0, "validation": "held out"}
        | PROVENANCE
        | {"fingerprint": "another"}
        | (score or {})
    )
    write_record(folder / "train.json", TrainRecord(**own | trained))
    write_record(folder / "score.json", ScoreRecord(**own | scored))
    curve = {"step": 5, "split": "val", "loss": 0.7, "accuracy": 61.0}
    write_rows(
        folder / "history.parquet", [curve | {"learning_rate": 1e-3, "seconds": 1.0}], CurveRow
    )
    return folder


def write_point(root, kind, model="linear", length=64, **changes):
    row, record = (speed_row, SpeedRecord) if kind == "speed" else (memory_row, MemoryRecord)
    fields = row(model, length, **changes) | {"mechanism": "linear"}
    path = root / "profile" / kind / model / f"{length}.json"
    write_record(path, record(**(POINT | fields)))
    return path


def collect_scores(root, seeds=(0,), tasks=("text",)):
    collect("scores", root, root / "scores.parquet", tasks, ["linear"], seeds, [])
    return read_table(root / "scores.parquet", ScoreRow).to_pylist()


def test_a_row_joins_training_and_scoring(tmp_path):
    write_cell(tmp_path)
    (row,) = collect_scores(tmp_path)
    assert (row["experiment"], row["protocol"], row["task"]) == ("demo", "quick", "text")
    assert (row["accuracy"], row["val_accuracy"], row["n_test"]) == (60.0, 61.0, 100)
    assert row["chosen_step"] == 5
    assert row["fingerprint"] == PROVENANCE["fingerprint"]  # of the training


def test_a_cell_of_tokens_has_the_validation_loss_of_its_checkpoint(tmp_path):
    folder = write_cell(tmp_path, score={"objective": "next", "state_bytes": 64})
    curve = {"split": "val", "accuracy": 61.0, "learning_rate": 1e-3, "seconds": 1.0}
    steps = [{"step": step, "loss": loss} | curve for step, loss in ((4, 0.9), (5, 0.6), (6, 0.3))]
    steps.insert(1, steps[1] | {"split": "train", "loss": 0.1})
    write_rows(folder / "history.parquet", steps, CurveRow)
    (row,) = collect_scores(tmp_path)
    assert (row["val_loss"], row["state_bytes"]) == (0.6, 64)


def test_only_what_was_asked_for_is_read_and_in_that_order(tmp_path):
    for seed in range(3):
        write_cell(tmp_path, seed=seed)
    write_cell(tmp_path, model="stale")
    assert [row["seed"] for row in collect_scores(tmp_path, seeds=[2, 0])] == [2, 0]


@pytest.mark.parametrize("stage", ["train", "score"])
def test_a_status_is_kept_and_its_accuracy_is_null_not_zero(tmp_path, stage):
    write_cell(tmp_path, **{stage: {"status": "oom", "reason": "out of memory"}})
    (row,) = collect_scores(tmp_path)
    assert row["status"] == "oom"
    assert row["accuracy"] is None and row["loss"] is None


def test_a_missing_score_is_an_error_that_names_the_file(tmp_path):
    (write_cell(tmp_path) / "score.json").unlink()
    with pytest.raises(LRAError, match=r"text/linear/seed0/score\.json: no such file"):
        collect_scores(tmp_path)
    assert not (tmp_path / "scores.parquet").exists()


def test_a_row_names_its_mechanism_and_data_set(tmp_path):
    write_cell(tmp_path)
    (row,) = collect_scores(tmp_path)
    assert (row["mechanism"], row["dataset"]) == ("linear", "text-small")


def test_a_record_of_another_cell_is_an_error_that_names_the_file(tmp_path):
    write_cell(tmp_path, seed=1).rename(tmp_path / "cells/text/linear/seed0")
    with pytest.raises(LRAError, match=r"seed0/train\.json: is of text/linear/seed1; delete it"):
        collect_scores(tmp_path)


def test_ok_without_an_accuracy_is_an_error(tmp_path):
    write_cell(tmp_path, score={"accuracy": None})
    with pytest.raises(LRAError, match=r"score\.json: accuracy is None though status is ok"):
        collect_scores(tmp_path)


def test_a_broken_record_is_an_error_that_names_file_and_key(tmp_path):
    path = write_cell(tmp_path) / "train.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": "many"}))
    with pytest.raises(LRAError, match=r"train\.json: steps"):
        collect_scores(tmp_path)


def collect_history(root, seeds):
    collect("history", root, root / "history.parquet", ["text"], ["linear"], seeds, [])


def test_history_has_its_cells_name(tmp_path):
    for seed in (0, 1):
        write_cell(tmp_path, seed=seed)
    collect_history(tmp_path, [1, 0])
    rows = read_table(tmp_path / "history.parquet", HistoryRow).to_pylist()
    assert [(r["task"], r["model"], r["seed"], r["step"]) for r in rows] == [
        ("text", "linear", 1, 5),
        ("text", "linear", 0, 5),
    ]


def test_a_broken_history_is_an_error_that_names_the_file(tmp_path):
    (write_cell(tmp_path) / "history.parquet").write_bytes(b"nonsense")
    with pytest.raises(LRAError, match=r"seed0/history\.parquet"):
        collect_history(tmp_path, [0])


def test_no_cells_make_an_empty_history(tmp_path):
    collect("history", tmp_path, tmp_path / "history.parquet", [], [], [], [])
    assert read_table(tmp_path / "history.parquet", HistoryRow).num_rows == 0


def test_profile_points_become_rows(tmp_path):
    known = {"flops_per_step": 10**12, "joules_per_step": 7.5, "params": 1000}
    for kind in ("speed", "memory"):
        write_point(tmp_path, kind, **(known if kind == "speed" else {}))
        write_point(tmp_path, kind, length=128, status="timeout")
    out = tmp_path / "out.parquet"
    collect("speed", tmp_path, out, [], ["linear"], [], [64, 128])
    rows = read_table(out, SpeedRow).to_pylist()
    assert [(r["length"], r["status"]) for r in rows] == [(64, "ok"), (128, "timeout")]
    assert rows[1]["train_steps_per_s"] is None
    assert {key: rows[0][key] for key in known} == known
    collect("memory", tmp_path, out, [], ["linear"], [], [64, 128])
    rows = read_table(out, MemoryRow).to_pylist()
    assert [r["peak_bytes"] for r in rows] == [400_000_000, None]


def test_a_point_under_another_ones_name_is_an_error(tmp_path):
    path = write_point(tmp_path, "speed")
    path.rename(path.with_name("128.json"))
    with pytest.raises(LRAError, match=r"128\.json: is of linear at 64"):
        collect("speed", tmp_path, tmp_path / "out.parquet", [], ["linear"], [], [128])


def write_span(root, measures, seed=0):
    own = ("experiment", "task", "model", "seed")
    kept = [{k: v for k, v in m.items() if k not in own} | {"heads": None} for m in measures]
    path = root / "span" / "text" / "linear" / f"seed{seed}.json"
    write_record(path, SpanRecord(**named(seed=seed), **PROVENANCE, reason=None, measures=kept))


def collect_spans(root, seeds, models=("linear",)):
    collect("span", root, root / "span.parquet", ["text"], models, seeds, [])
    return read_table(root / "span.parquet", SpanRow).to_pylist()


def test_spans_are_rows_by_layer_and_a_status_has_none(tmp_path):
    write_span(tmp_path, [span_row(layer=0, span=3.0), span_row(span=4.0)], seed=1)
    write_span(tmp_path, [span_row(status="oom")], seed=0)
    rows = collect_spans(tmp_path, [1, 0])
    assert [(r["seed"], r["layer"], r["span"], r["status"]) for r in rows] == [
        (1, 0, 3.0, "ok"),
        (1, -1, 4.0, "ok"),
        (0, -1, None, "oom"),
    ]
    assert rows[2]["uniform"] == 100.0
    assert collect_spans(tmp_path, [0], models=[]) == []


def test_a_span_that_is_ok_but_null_is_an_error(tmp_path):
    write_span(tmp_path, [span_row(span=None)])
    with pytest.raises(LRAError, match=r"seed0\.json: span is None though status is ok"):
        collect_spans(tmp_path, [0])


def test_the_same_cells_give_the_same_bytes(tmp_path):
    write_cell(tmp_path)
    collect_scores(tmp_path)
    first = (tmp_path / "scores.parquet").read_bytes()
    collect_scores(tmp_path)
    assert (tmp_path / "scores.parquet").read_bytes() == first


def test_fabricated_rows_are_rows():
    assert ScoreRow.model_validate(score_row()) and SpeedRow.model_validate(speed_row())
    assert MemoryRow.model_validate(memory_row())


def test_a_table_that_is_missing_is_not_called_damaged(tmp_path):
    with pytest.raises(LRAError, match=r"scores.parquet: no such file$"):
        read_table(tmp_path / "scores.parquet", ScoreRow)
