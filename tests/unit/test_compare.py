"""`lra compare`: what changed between two experiments, by how much, and why."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fabricated import memory_row, score_row, speed_row
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lra.cli.app import app
from lra.compare import text
from lra.compare.differences import compare
from lra.compare.experiment import opened
from lra.config.cell import to_yaml
from lra.core.errors import LRAError
from lra.core.files import write_beside
from lra.results import fingerprint
from lra.results.points import MemoryRow, SpeedRow
from lra.results.records import PredictionRow, ScoreRecord, ScoreRow, write_record, write_rows
from tiny import ROOT, make_cell

TASKS, MODELS, SEEDS, EXAMPLES = ("listops", "image"), ("linear", "local"), (1, 2, 3), 300
LABELS = np.random.default_rng(7).integers(10, size=EXAMPLES)


def answers(task: str, model: str, seed: int, share: float = 0.5) -> np.ndarray:
    """Predictions of a cell, the same whenever asked; about `share` of them are right."""
    random = np.random.default_rng([len(task), len(model), seed])
    right = random.random(EXAMPLES) < share
    return np.where(right, LABELS, (LABELS + 1) % 10)


@pytest.fixture(autouse=True, scope="module")
def no_fsync():
    """Hundreds of small files, which no power failure has to spare."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


class Made:
    """An experiment written by the pipeline's own writers, its cells changed as a test asks."""

    def __init__(self, root: Path, tasks=TASKS, models=MODELS, seeds=SEEDS, protocol="quick"):
        self.root, self.protocol = root, protocol
        self.cells = {
            (t, m, s): {"predictions": answers(t, m, s), "labels": LABELS, "row": {}, "score": {},
                        "cell": {}, "weights": b"weights"}
            for t in tasks for m in models for s in seeds
        }  # fmt: skip
        self.speeds = [speed_row(model, length) for model in models for length in (256, 1024)]
        self.memories = [memory_row(model, length) for model in models for length in (256, 1024)]

    def change(self, what: str, value, task=None, model=None, seed=None) -> Made:
        for key, cell in self.cells.items():
            if all(
                asked in (None, own) for asked, own in zip((task, model, seed), key, strict=True)
            ):
                if isinstance(value, dict):
                    cell[what] = cell[what] | value
                else:
                    cell[what] = value(*key) if callable(value) else value
        return self

    def write(self) -> Path:
        rows = []
        for (task, model, seed), made in self.cells.items():
            folder = self.root / "cells" / task / model / f"seed{seed}"
            right = 100 * float((made["predictions"] == made["labels"]).mean())
            cell = make_cell(
                task=task, model=model, seed=seed, protocol=self.protocol, **made["cell"]
            )
            row = score_row(task, model, seed, experiment=self.root.name, accuracy=right,
                            n_test=len(made["labels"]), protocol=self.protocol,
                            mechanism=cell.encoder.attention, dataset=cell.dataset, **made["row"])  # fmt: skip
            rows.append(row)
            write_beside(folder / "config.yaml", to_yaml(cell).encode())
            write_beside(folder / "checkpoint.safetensors", made["weights"])
            known = {k: v for k, v in row.items() if k in ScoreRecord.model_fields}
            score = ScoreRecord(**known | {"reason": None} | made["score"])
            write_record(folder / "score.json", score)
            pairs = zip(made["labels"].tolist(), made["predictions"].tolist(), strict=True)
            given = [{"label": label, "prediction": said} for label, said in pairs]
            write_rows(
                folder / "predictions.parquet",
                given if row["status"] == "ok" else [],
                PredictionRow,
            )
        write_rows(self.root / "scores.parquet", rows, ScoreRow)
        write_rows(self.root / "speed.parquet", self.speeds, SpeedRow)
        write_rows(self.root / "memory.parquet", self.memories, MemoryRow)
        return self.root


@pytest.fixture
def a(tmp_path) -> Made:
    return Made(tmp_path / "results/a")


@pytest.fixture
def b(tmp_path) -> Made:
    return Made(tmp_path / "elsewhere/results/b")


def compared(a: Made | Path, b: Made | Path):
    paths = [side.write() if isinstance(side, Made) else side for side in (a, b)]
    with opened(paths[0]) as ours, opened(paths[1]) as theirs:
        found = compare(ours, theirs)
        return found, text.text(found)


def reasons(found) -> list[tuple[str, str]]:
    return [(cause.kind, cause.what) for cause in found.causes]


def test_the_same_experiment_is_identical_in_its_bits(a, b):
    found, text = compared(a, b)
    assert {change.same for change in found.changes} == {"bits"} and found.agree
    assert not (found.causes or found.statuses or found.notes or found.uncaused)
    assert "all 12 cells" in text and "identical" in text.splitlines()[-1]


def test_other_weights_with_the_same_answers_are_not_identical(a, b):
    b.change("weights", b"others", "image", "local", 2)
    found, text = compared(a, b)
    assert [change.name for change in found.changes if change.same == "no"] == ["image/local"]
    assert found.uncaused == [("image", "local", 2)] and found.agree
    assert "No recorded cause: image/local (seed 2)" in " ".join(text.split())


def test_a_better_model_is_found_and_its_key_is_named(a, b):
    b.change("predictions", lambda *key: answers(*key, share=0.7), "listops", "linear")
    b.change("cell", {"encoder": {"mlp_dim": 128}}, model="linear")
    found, text = compared(a, b)
    better, *rest = sorted(found.changes, key=lambda change: -change.difference)
    assert (better.name, better.significant, better.test) == ("listops/linear", True, "examples")
    assert better.low < better.difference < better.high and better.p <= better.p_holm
    right = [np.mean([(answers(*k, share=s) == LABELS).mean() for k in
                      (("listops", "linear", seed) for seed in SEEDS)]) for s in (0.5, 0.7)]  # fmt: skip
    assert better.difference == pytest.approx(100 * (right[1] - right[0]))
    assert not any(change.significant for change in rest) and not found.agree
    assert reasons(found) == [("config", "encoder.mlp_dim: 32 -> 128")]
    assert "encoder.mlp_dim: 32 -> 128, in all 6 of linear" in text


@settings(max_examples=4, phases=[Phase.explicit, Phase.generate])
@given(
    st.floats(0.2, 0.8),
    st.lists(st.sampled_from([1, 2, 3]), unique=True, min_size=1, max_size=3),
    st.sampled_from(["ok", "oom"]),
)
def test_swapped_sides_give_opposite_signs(tmp_path_factory, share, seeds, status):
    folder = tmp_path_factory.mktemp("swapped")
    ours = Made(folder / "a", tasks=["listops"])
    theirs = Made(folder / "b", tasks=["listops"], seeds=seeds)
    theirs.change("predictions", lambda *key: answers(*key, share=share), model="local")
    theirs.change("row", {"status": status}, model="linear", seed=seeds[0])
    forth, _ = compared(ours, theirs)
    back, _ = compared(ours.root, theirs.root)
    assert forth.changes == back.changes, "the same inputs say the same"
    back, _ = compared(theirs.root, ours.root)
    assert forth.agree == back.agree
    assert (forth.only_a, forth.only_b) == (back.only_b, back.only_a)
    assert [(s.a, s.b) for s in forth.statuses] == [(s.b, s.a) for s in back.statuses]
    for one, other in zip(forth.changes, back.changes, strict=True):
        assert (one.a, one.b, one.n) == (other.b, other.a, other.n)
        assert one.p == pytest.approx(other.p) and one.significant == other.significant
        if one.difference is not None:
            assert one.difference == -other.difference
            assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.3)


def test_a_changed_status_comes_first_and_its_cell_is_in_no_mean(a, b):
    b.change("row", {"status": "oom"}, "image", "linear", 1)
    found, text = compared(a, b)
    assert [(s.where, s.a, s.b) for s in found.statuses] == [("image/linear/seed1", "ok", "oom")]
    change = next(c for c in found.changes if c.name == "image/linear")
    assert change.n == 2 and change.difference == 0 and not found.agree
    assert [(c.status_a, c.status_b, c.b, c.difference) for c in change.cells] == [
        ("ok", "oom", None, None), ("ok", "ok", change.cells[1].a, 0), ("ok", "ok", change.cells[2].a, 0),
    ]  # fmt: skip
    assert "image/linear  seed 1: ok -> oom, seed 2: same, seed 3: same" in text
    assert text.index("ok -> oom") < text.index("Accuracy") and " 2/3 " in text


def test_each_seed_that_changed_is_said_with_its_difference(a, b):
    b.change("predictions", lambda *key: answers(*key, share=0.6), "image", "linear", 2)
    b.change("weights", b"others", "image", "linear", 3)
    found, text = compared(a, b)
    change = next(c for c in found.changes if c.name == "image/linear")
    assert [cell.seed for cell in change.cells] == [1, 2, 3] and change.same == "no"
    assert [cell.same for cell in change.cells] == ["bits", "no", "no"]
    right = [100 * (answers("image", "linear", 2, share) == LABELS).mean() for share in (0.5, 0.6)]
    assert (change.cells[1].a, change.cells[1].b) == pytest.approx(tuple(right))
    moved = right[1] - right[0]
    assert change.cells[1].difference == pytest.approx(moved) and moved > 0
    assert f"image/linear  seed 1: same, seed 2: {moved:+.2f}, seed 3: 0.00" in text
    assert "listops/linear  seed" not in text  # the others are the same


def test_cells_and_seeds_of_one_side_are_named_and_not_averaged(tmp_path, a):
    b = Made(tmp_path / "b", tasks=("listops", "text"), seeds=(2, 3, 4), protocol="standard")
    b.change("predictions", lambda *key: answers(*key, share=0.9), seed=4)
    found, text = compared(a, b)
    assert [change.difference for change in found.changes] == [0, 0]
    listops = [[key[2] for key in only if key[:2] == ("listops", "linear")]
               for only in (found.only_a, found.only_b)]  # fmt: skip
    assert listops == [[1], [4]]
    assert len(found.only_a) == 8 and len(found.only_b) == 8
    head = " ".join(text.split("\n\n")[0].split())
    seed = "listops/linear (seed {0}), listops/local (seed {0})".format
    for words in (
        "Different protocols: quick in A, standard in B",
        f"Only in A, and not compared: {seed(1)}, image/linear, image/local.",
        f"Only in B, and not compared: {seed(4)}, text/linear, text/local.",
    ):
        assert words in head


def test_another_test_set_is_a_cause_and_is_not_paired_by_its_examples(a, b):
    b.change("labels", (LABELS + 1) % 10, task="image")
    found, text = compared(a, b)
    tests = {change.name: change.test for change in found.changes}
    assert tests["listops/local"] == "examples" and tests["image/local"] == "seeds"
    assert reasons(found) == [("data", "tiny: different test examples, by their labels")]
    assert found.causes[0].cells == [key for key in found.shared if key[0] == "image"]


def test_a_difference_that_cannot_be_tested_is_no_agreement(tmp_path):
    ours, theirs = Made(tmp_path / "a", seeds=[1]), Made(tmp_path / "b", seeds=[1])
    found, text = compared(ours, theirs.change("labels", (LABELS + 1) % 10, "image", "linear"))
    assert [change.name for change in found.untested] == ["image/linear"] and not found.agree
    assert text.endswith("They differ: 1 accuracy different and not testable.")


def test_other_checksums_of_the_data_are_a_cause(a, b):
    for side, train in ((a, "1"), (b, "2")):
        splits = {"train": {"rows": 1, "sha256": train}, "test": {"rows": 1, "sha256": "0"}}
        path = side.root.parent / "data/tiny/dataset.json"
        write_beside(path, json.dumps({"splits": splits}).encode())
    assert reasons(compared(a, b)[0]) == [("data", "tiny: different bytes in train")]


def test_hardware_and_library_are_causes(a, b):
    b.change("row", {"device": "cuda: H100"})
    b.change("row", {"torch_version": "3"}, task="image")
    b.change("weights", b"others")
    found, text = compared(a, b)
    assert reasons(found) == [
        ("hardware", "device: cpu: demo -> cuda: H100"),
        ("hardware", "torch: 2 -> 3"),
    ]
    assert not found.uncaused and "-> cuda: H100, in all 12 cells" in text


def code_of(source: Path, model: str) -> str:
    roots = fingerprint.STAGES["train"], f"lra.attention.{model}"
    return fingerprint.fingerprint(*roots, source=source)


def with_code(side: Made, source: Path, commit: str | None) -> None:
    for model in MODELS:
        made_with = {"fingerprint": code_of(source, model), "git_commit": commit}
        side.change("row", made_with, model=model)
        side.change("cell", {"encoder": {"attention": model}}, model=model)
        side.change("score", {"fingerprint": "same"})


def edit(source: Path, file: str, text: str = "NEW = 1") -> None:
    path = source / "lra" / file
    path.write_text(path.read_text() + f"\n{text}\n")


def test_the_files_whose_code_differs_are_named(a, b):
    """Each side's results lie in a checkout of their own."""
    for side in (a, b):
        source = side.root.parent.parent / "src"
        shutil.copytree(ROOT / "src", source)
        if side is b:
            edit(source, "attention/linear.py")
            edit(source, "training/batches.py")
            edit(source, "training/optimizer.py", "# a comment")
        with_code(side, source, None)
    found, text = compared(a, b)
    assert {cause.what: len(cause.cells) for cause in found.causes} == {
        "src/lra/training/batches.py": 12,
        "src/lra/attention/linear.py": 6,
    }


def test_code_that_is_not_at_hand_is_named_by_fingerprint_and_commit(a, b):
    """B's checkout has been edited since."""
    for side, commit in ((a, "1" * 40 + "-dirty"), (b, None)):
        source = side.root.parent.parent / "src"
        shutil.copytree(ROOT / "src", source)
        with_code(side, source, commit)
    b.change("row", {"fingerprint": "0" * 16}, model="local")
    found, text = compared(a, b)
    codes = f"{code_of(ROOT / 'src', 'local')} (1111111111-dirty) -> {'0' * 16} (no commit)"
    assert reasons(found) == [("code", f"of train: {codes}")]
    assert {key[1] for key in found.causes[0].cells} == {"local"}
    assert f"of train: {codes}, in all 6 of local" in " ".join(text.split())


def test_speed_and_memory_beyond_ten_percent_are_named_as_different_only(a, b):
    b.speeds[0] = speed_row("linear", 256, train_steps_per_s=4.3, infer_steps_per_s=6.0)
    b.speeds[1] = speed_row("linear", 1024, batch_size=8)
    b.memories[3] = memory_row("local", 1024, status="oom")
    found, text = compared(a, b)
    ratios = {(r.model, r.length, r.column): r.ratio for r in found.ratios}
    assert ratios["linear", 256, "infer_steps_per_s"] == 0.5
    assert ("linear", 1024, "train_steps_per_s") not in ratios
    assert "1 of 9 values" in text and "linear at 256" in text and "batch size 32 in A" in text
    assert [s.where for s in found.statuses] == ["memory of local at 1024 tokens"]


def test_profiles_are_compared_by_setting_and_not_where_kernels_differ(a, b):
    tf32 = {"setting": "tf32", "tf32": True}
    for side, rate in ((a, 4.0), (b, 8.0)):
        side.speeds.append(speed_row("linear", 256, train_steps_per_s=rate, **tf32))
    b.speeds[0] |= {"deterministic": True, "train_steps_per_s": 1.0}
    b.speeds[1] |= {"deterministic": None, "precision": None, "train_steps_per_s": 2.0}
    found, text = compared(a, b)
    ratios = {(r.model, r.length, r.column): r.ratio for r in found.ratios}
    assert ratios["linear.tf32", 256, "train_steps_per_s"] == 2.0
    assert ratios["linear", 1024, "train_steps_per_s"] == 0.5  # A or B has not recorded its kernels
    assert ("linear", 256, "train_steps_per_s") not in ratios
    said = "setting fast kernels, float32 in A, deterministic kernels, float32 in B, not compared."
    assert said in " ".join(text.split())


def test_figures_of_other_devices_are_compared_and_it_is_said(a, b):
    b.speeds = [row | {"device": "cuda: H100", "train_steps_per_s": 40.0} for row in b.speeds]
    found, text = compared(a, b)
    assert {r.ratio for r in found.ratios if r.column == "train_steps_per_s"} == {10.0}
    said = "speed: measured on cpu: demo in A, on cuda: H100 in B; the ratios compare these, too."
    assert found.notes == [said] and said in " ".join(text.split())


def pack(root: Path, target: Path, *, tear: bool = False, source: Path | None = None) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(source.rglob("*.py")) if source else ():
            archive.write(path, f"source/src/{path.relative_to(source)}")
        for path in sorted(root.rglob("*")):
            archive.write(path, f"results/{root.name}/{path.relative_to(root)}")
    if tear:
        target.write_bytes(target.read_bytes()[:-2000])
    return target


def run(*words) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["compare", *map(str, words)])
    return done.exit_code, done.stdout, done.stderr


def test_an_archive_is_read_like_its_folder_and_a_script_can_tell_the_outcome(tmp_path, a, b):
    b.change("predictions", lambda *key: answers(*key, share=0.8), "listops", "linear")
    archive = pack(a.write(), tmp_path / "a.zip")
    status, _, _ = run(archive, a.root)
    assert status == 0
    status, said, _ = run(archive, b.write(), "--json")
    known = json.loads(said)
    assert status == 1 and not known["agree"]
    first, last = known["changes"][0], known["changes"][-1]
    assert [cell["seed"] for cell in first["cells"]] == [1, 2, 3]
    assert first["significant"] and first["p"] < 0.05
    assert {cell["same"] for cell in first["cells"]} == {"no"}
    assert {cell["same"] for cell in last["cells"]} == {"bits"}


def test_the_code_in_an_archive_is_read(tmp_path, a, b):
    packed = []
    for side in (a, b):
        source = side.root.parent.parent / "code"
        shutil.copytree(ROOT / "src", source)
        if side is b:
            edit(source, "models/pooling.py")
        with_code(side, source, "0" * 40)
        packed.append(pack(side.write(), side.root.with_suffix(".zip"), source=source))
    assert reasons(compared(*packed)[0]) == [("code", "src/lra/models/pooling.py")]


def test_mistakes_and_damage_are_one_line_and_status_2(tmp_path, a, b):
    a.write()
    (tmp_path / "empty").mkdir()
    torn = pack(b.write(), tmp_path / "torn.zip", tear=True)
    empty = tmp_path / "none.zip"
    zipfile.ZipFile(empty, "w").close()
    broken = b.root / "cells/image/linear/seed1/predictions.parquet"
    broken.write_bytes(broken.read_bytes()[:-9])
    archived = pack(b.root, tmp_path / "broken.zip")
    strange = Made(tmp_path / "strange", tasks=["text"]).write()
    for other, words in (
        (tmp_path / "nowhere", "nowhere: no such folder or archive"),
        (tmp_path / "empty", "scores.parquet: no such file"),
        (torn, "torn.zip: not a whole zip archive"),
        (empty, "none.zip: one experiment below results/ is needed, found none"),
        (b.root, f"{broken}: not a Parquet file"),
        (archived, "broken.zip/results/b/cells/image/linear/seed1/predictions.parquet: not a Pa"),
        (strange, "no cell is in both (listops/linear/seed1, text/linear/seed1 ...)"),
    ):
        status, said, error = run(a.root, other)
        assert (status, said, error.count("\n")) == (2, "", 1), (other, said, error)
        assert words in error
    with pytest.raises(LRAError, match="has 299 rows"):
        short = Made(tmp_path / "short")
        short.write()
        path = short.root / "cells/image/linear/seed1/predictions.parquet"
        write_rows(path, [{"label": 1, "prediction": 1}] * 299, PredictionRow)
        compared(a.root, short.root)


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width, a, b, tmp_path, monkeypatch):
    b.change("predictions", lambda *key: answers(*key, share=0.8), model="linear")
    b.change("cell", {"encoder": {"mlp_dim": 128, "dim": 128}}, "listops", "linear", 1)
    b.change("row", {"device": "cuda: NVIDIA H100 80GB HBM3"}, seed=2)
    monkeypatch.chdir(tmp_path)
    paths = [side.write().relative_to(tmp_path) for side in (a, b)]
    found, _ = compared(*paths)
    lines = text.text(found, width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("95 % interval" in line and "wider" not in line for line in lines)
