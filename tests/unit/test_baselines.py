"""Baselines without a network: what each reaches on a task that is made for it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from fabricated import baseline_row, score_row, table
from typer.testing import CliRunner

from lra.cli.app import app
from lra.core.errors import LRAError
from lra.data.generate import generate_dataset
from lra.data.listops_tokens import MAX, MED, MIN
from lra.data.sources import OF_TOKENS
from lra.data.split import Info, Sequences, Split, grid_table, write_split
from lra.evaluation import baselines
from lra.evaluation.baselines import attempt, counts, kinds
from lra.results.baselines import BaselineRecord, BaselineRow, Measure
from lra.results.collect import collect
from lra.results.records import ScoreRow, read_record, read_table, write_record, write_rows
from tiny import ROOT, SMALL_LISTOPS


def split(task, documents, labels, vocab=257, classes=2, second=None, **info) -> Split:
    """A split of lists of tokens, and of a second tower where there is one."""
    towers = [documents] if second is None else [documents, second]
    sequences = [
        Sequences(
            np.concatenate([np.asarray(each, np.uint16) for each in tower]),
            np.cumsum([0, *map(len, tower)]),
        )
        for tower in towers
    ]
    return Split(tuple(sequences), np.asarray(labels), Info(task, vocab, classes, 99, True, **info))


def test_the_majority_is_that_of_train():
    train, other = (split("text", [[1]] * 4, labels) for labels in ([1, 1, 1, 0], [0, 0, 0, 1]))
    found = attempt("majority class", train, other, other)
    assert (found.accuracy, found.val_accuracy, found.n_train) == (25.0, 25.0, 4)


def test_the_root_operator_is_exact_on_a_hand_made_split():
    """Of train: MAX gives 9 twice of three, MIN 0; MED is unseen and gets 9, the most frequent."""
    train = split("listops", [[MAX, 3], [MAX, 3], [MAX], [MIN, 2]], [9, 9, 8, 0], 17, 10)
    test = split("listops", [[MAX], [MAX, 2, 2], [MIN], [MED]], [9, 8, 0, 9], 17, 10)
    found = attempt("root operator", train, test, test)
    assert (found.accuracy, found.val_accuracy, found.n_train) == (75.0, 75.0, 4)


def text(count, seed, **info) -> Split:
    """Random bytes of two letters; the label is whether `abc` occurs, which no single byte tells."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    a, b, c = 10, 20, 30
    documents = [
        [*random.choice([40, 50], 8), *((a, b, c) if y else (c, b, a)), *random.choice([40, 50], 8)]
        for y in labels
    ]
    return split("text", documents, labels, **info)


def permuted(one: Split, seed: int = 5) -> Split:
    return replace(one, labels=np.random.default_rng(seed).permutation(one.labels))


def test_n_grams_solve_what_the_majority_cannot():
    train, val, test = text(300, 1), text(60, 2), text(200, 3)
    assert attempt("byte n-grams", train, val, test).accuracy == 100.0
    assert attempt("majority class", train, val, test).accuracy < 60


def test_n_grams_of_permuted_labels_are_at_chance():
    parts = [permuted(text(n, seed)) for n, seed in ((400, 1), (100, 2), (1000, 3))]
    assert 40 < attempt("byte n-grams", *parts).accuracy < 60


def test_every_n_gram_is_counted_within_its_document_alone(monkeypatch):
    documents = [[1, 2, 1, 2], [3], [2, 2, 2], [1, 3]]
    tower = split("text", documents, [0] * 4).towers[0]
    expected = np.zeros((4, 4 + 16 + 64))
    for row, document in enumerate(documents):
        for n, base in ((1, 0), (2, 4), (3, 20)):
            for i in range(len(document) - n + 1):
                number = sum(x * 4 ** (n - 1 - j) for j, x in enumerate(document[i : i + n]))
                expected[row, base + number] += 1
    for chunk in (1, 4, 5, 100):
        monkeypatch.setattr(baselines, "CHUNK", chunk)
        assert (counts(tower, 4).toarray() == expected).all(), chunk


def pairs(count, seed) -> Split:
    """Whether two documents begin alike; neither of them tells."""
    random = np.random.default_rng(seed)
    labels, first = random.integers(0, 2, count), random.integers(1, 40, (count, 6))
    other = random.integers(1, 40, (count, 6))
    second = np.where(labels[:, None] == 1, first, other)
    return split("retrieval", list(first), labels, second=list(second))


def test_retrieval_sees_what_two_documents_share():
    found = attempt("byte n-grams", pairs(500, 1), pairs(100, 2), pairs(200, 3))
    assert found.accuracy > 90


def images(count, seed, classes=3, **info) -> Split:
    """Noise; one pixel of the class is brighter, and one pixel is constant."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    pixels = random.integers(0, 100, (count, 16)).astype(np.uint8)
    pixels[np.arange(count), labels] += 120
    pixels[:, -1] = 7
    offsets = np.arange(count + 1) * 16
    own = Info("image", 256, classes, 16, False, **info)
    return Split((Sequences(pixels.ravel(), offsets),), labels, own)


def test_pixels_find_the_bright_one_and_not_in_permuted_labels():
    parts = [images(n, seed) for n, seed in ((400, 1), (100, 2), (1000, 3))]
    assert attempt("pixels", *parts).accuracy > 98
    assert 25 < attempt("pixels", *map(permuted, parts)).accuracy < 42


def test_the_penalty_is_of_half_the_squares_beside_the_mean_loss():
    """Where the two balance, the gradient is 0."""
    part = images(200, 1)
    x = baselines.pixels(part)(part)
    assert abs(x[:, :-1].mean(0)).max() < 1e-5 and abs(x[:, :-1].std(0) - 1).max() < 1e-5
    model = baselines.LogisticRegression(max_iter=500)
    baselines.fit(model, x, part.labels, 0.1)
    error = (model.predict_proba(x) - np.eye(3)[part.labels]) / len(x)  # (n, classes)
    assert abs(error.T @ x + 0.1 * model.coef_).max() < 2e-3


def test_more_examples_than_the_limit_are_not_read(monkeypatch):
    parts = [images(n, seed) for n, seed in ((100, 1), (50, 2), (50, 3))]
    assert attempt("pixels", *parts).n_train == 100
    monkeypatch.setattr(baselines, "MOST_PIXELS", 16 * 30)
    assert attempt("pixels", *parts).n_train == 30


def test_nothing_is_chosen_on_a_validation_split_that_is_the_test_set(monkeypatch):
    train, test = (images(n, s, validation="test set") for n, s in ((200, 1), (300, 2)))
    read, grid = [], baselines.grid
    monkeypatch.setattr(baselines, "grid", lambda one: read.append(len(one)) or grid(one))
    found = attempt("pixels", train, test, test)
    assert found.n_train == 180
    assert read == [180, 180, 20, 300]  # to standardise, to learn, to choose, to score


def test_the_test_splits_labels_change_no_choice():
    parts = [images(n, seed) for n, seed in ((100, 1), (50, 2), (50, 3))]
    one = asdict(attempt("pixels", *parts))
    other = asdict(attempt("pixels", *parts[:2], permuted(parts[2])))
    assert one.pop("accuracy") != other.pop("accuracy")
    assert one | {"seconds": 0} == other | {"seconds": 0}


def test_the_same_splits_give_the_same_result(monkeypatch):
    """Also where a part of them is drawn."""
    monkeypatch.setattr(baselines, "MOST_TOKENS", 19 * 30)
    drawn, fit = [], baselines.fit
    monkeypatch.setattr(baselines, "fit", lambda *a: drawn.append(list(a[2])) or fit(*a))
    parts = [text(n, seed) for n, seed in ((100, 1), (50, 2), (50, 3))]
    one, two = (asdict(attempt("byte n-grams", *parts)) | {"seconds": 0} for _ in range(2))
    assert one == two and one["n_train"] == 30
    assert all(labels == drawn[0] for labels in drawn)


def test_a_lack_of_memory_is_a_row_without_a_number(monkeypatch, tmp_path):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(baselines, "fit", fails)
    parts = [images(n, seed) for n, seed in ((100, 1), (50, 2), (50, 3))]
    found = attempt("pixels", *parts)
    assert (found.status, found.accuracy, found.seconds) == ("oom", None, None)
    assert found.reason
    write(tmp_path, "image", [found])
    (row,) = collected(tmp_path, ["image"])
    assert (row["kind"], row["status"], row["accuracy"]) == ("pixels", "oom", None)
    assert "oom" in table("baselines", tmp_path)[1]


def test_any_other_error_is_not_hidden(monkeypatch):
    def fails(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(baselines, "fit", fails)
    with pytest.raises(RuntimeError, match="a mistake"):
        attempt("pixels", images(20, 1), images(20, 2), images(20, 3))


def test_images_of_several_sizes_are_one_line():
    odd = split("image", [[1, 2], [1]], [0, 1], 256)
    with pytest.raises(LRAError, match="not all of one size"):
        attempt("pixels", odd, odd, odd)


def test_every_task_has_its_baselines():
    for path in (ROOT / "config/tasks").glob("*.yaml"):
        if path.stem not in OF_TOKENS:  # they have floors
            assert len(kinds(path.stem)) == 2, path.stem
    assert kinds("listops") == ["majority class", "root operator"]


NAME = {"experiment": "demo", "protocol": "quick", "task": "short", "variant_of": "listops"}
NAME |= {"dataset": "listops-tiny"}


def test_the_command_writes_a_record_that_names_its_task(tmp_path):
    data, out = tmp_path / "data", tmp_path / "baselines/short.json"
    generate_dataset("listops", SMALL_LISTOPS, {"train": 2000, "val": 300, "test": 300}, 0, data)
    arguments = ["--task", json.dumps(NAME), "--data", str(data), "--out", str(out)]
    done = CliRunner().invoke(app, ["baseline", *arguments])
    assert done.exception is None, done.exception
    record = read_record(out, BaselineRecord)
    assert NAME.items() <= record.model_dump().items()
    assert (record.n_test, record.n_train_split, record.validation) == (300, 2000, "held out")
    majority, root = record.measures
    assert root.accuracy > majority.accuracy + 5
    with (data / "test.arrow").open("r+b") as file:
        file.seek(500)
        file.write(b"x")
    done = CliRunner().invoke(app, ["baseline", *arguments])
    assert "test.arrow: sha256" in str(done.exception)


def write(root, task, results) -> None:
    name = NAME | {"task": task}
    facts = {"n_test": 50, "chance": 40.0, "validation": "held out", "n_train_split": 100}
    made = {"fingerprint": "f" * 16, "device": "cpu", "torch_version": "2", "git_commit": None}
    measures = [Measure(**asdict(result)) for result in results]
    record = BaselineRecord(**name, **facts, **made, measures=measures)
    write_record(root / f"baselines/{task}.json", record)


def collected(root, tasks) -> list[dict]:
    collect("baselines", root, root / "baselines.parquet", tasks, [], [], [])
    return read_table(root / "baselines.parquet", BaselineRow).to_pylist()


def test_a_record_of_another_task_is_an_error_that_names_the_file(tmp_path):
    write(tmp_path, "text", [])
    (tmp_path / "baselines/text.json").rename(tmp_path / "baselines/image.json")
    with pytest.raises(LRAError, match=r"image\.json: is of text; delete it"):
        collected(tmp_path, ["image"])


def test_ok_without_an_accuracy_is_an_error(tmp_path):
    write(tmp_path, "text", [baselines.Result("byte n-grams")])
    with pytest.raises(LRAError, match=r"text\.json: accuracy is None though status is ok"):
        collected(tmp_path, ["text"])


def test_the_table_has_a_row_a_baseline_and_a_column_a_task(tmp_path):
    rows = [
        baseline_row("text"),
        baseline_row("text", "byte n-grams", accuracy=88.126, penalty=0.1),
    ]
    rows += [baseline_row("image", accuracy=10.0)]
    rows += [baseline_row("image", "pixels", n_train=400, accuracy=30.0, seconds=90.0)]
    write_rows(tmp_path / "baselines.parquet", rows, BaselineRow)
    lines, said = table("baselines", tmp_path)
    assert len(lines) == 4 and lines[1]["accuracy"] == "88.126"
    cells = [[x.strip() for x in y.split("|")[1:-1]] for y in said.splitlines() if y[:2] == "| "]
    assert cells == [
        ["baseline", "text", "image"],
        ["majority class", "50.00", "10.00"],
        ["byte n-grams", "88.13", "-"],
        ["pixels", "-", "30.00"],
    ]
    assert "image, pixels: learned from 400 of 900 training examples." in said
    assert "The longest took 1.50 min." in said and "The penalty was chosen" in said
    assert "root operator" not in said
    write_rows(tmp_path / "baselines.parquet", [], BaselineRow)
    assert "Nothing was measured." in table("baselines", tmp_path)[1]


def test_the_accuracy_table_says_how_far_the_best_model_is_above_simple_mixing(tmp_path):
    means = {"linear": 70.0, "local": 66.0, "conv": 66.8, "mean": 71.5, "identity": 50.0}
    rows = [score_row(model=model, accuracy=mean) for model, mean in means.items()]
    rows += [
        score_row(model="xl", accuracy=99.0, seed=0),
        score_row(model="xl", seed=1, status="oom"),
    ]
    rows += [score_row("image", "linear", accuracy=40.0), score_row("listops", "conv")]
    write_rows(tmp_path / "scores.parquet", rows, ScoreRow)
    simple = [baseline_row(), baseline_row(kind="byte n-grams", accuracy=81.26)]
    simple += [baseline_row("image", "pixels", status="oom")]
    write_rows(tmp_path / "baselines.parquet", simple, BaselineRow)
    said = table("accuracy", tmp_path)[1]
    assert (
        "text, baselines: majority class 50.0 %; byte n-grams 81.3 %; best model linear 70.0 %, "
        "+3.2 over conv, −1.5 over mean, +20.0 over identity."
    ) in said
    assert "image, baselines: pixels oom." in said
    assert "listops, baselines" not in said


def test_pixels_of_a_file(tmp_path):
    """Through the format on disk, in several record batches."""
    for name, count in (("train", 90), ("val", 30), ("test", 30)):
        part = images(count, count)
        grid, labels = part.towers[0].values.reshape(-1, 16), part.labels
        tables = [grid_table(grid[i::3], labels[i::3]) for i in range(3)]
        write_split(tmp_path / f"{name}.arrow", tables, part.info)
    majority, found = baselines.baselines(tmp_path)
    assert found.kind == "pixels" and found.accuracy > 90 > majority.accuracy
