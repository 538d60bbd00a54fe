"""An experiment goes into one file, which is checked, restored, and tampered with."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import crate_profile
from checkout import Checkout, commit_all
from forged import entries_of, forged, read
from lra.archive import zip_file
from lra.archive.descriptions import METADATA
from lra.archive.verify import verify

pytestmark = pytest.mark.slow
LINEAR = "results/tiny/cells/listops/linear/seed1"
EVALUATE = "export LRA_GPU_SHARE=1; lra evaluate --cell"
SECRET = secrets.token_hex(12)  # not a literal: the source is archived, and searched for it


class Archived(Checkout):
    """The finished experiment as a git checkout with a change, and its archive."""

    def __init__(self, finished: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(finished, folder, symlinks=True)
        self.write(".gitignore", (folder / ".gitignore").read_text() + "run.log\n")
        commit_all(folder)
        self.edit("src/lra/attention/local.py", '"""', '"""Changed, though not in what it does. ')
        self.write("note.txt", "not in git")
        self.home = folder.parent / "alice"
        self.log = folder / "results/tiny/logs/train/listops/linear/seed1.log"
        self.log.write_text(self.log.read_text() + f"{self.home}/x {folder}/y {SECRET}\n")
        self.environment = {"HOME": str(self.home), "HUB_TOKEN": SECRET}
        done = self.snakemake("--configfile", "config/tiny.yaml", "--cores", "2", "archive",
                              env=self.environment)  # fmt: skip
        assert done.returncode == 0, done.stdout
        self.zip = folder / "results/tiny/archive/tiny.zip"


@pytest.fixture(scope="module")
def archived(finished, tmp_path_factory) -> Archived:
    return Archived(finished, tmp_path_factory.mktemp("archived") / "checkout")


def edited(archived: Archived, path: Path, name: str, old: str, new: str) -> Path:
    text = read(archived.zip, name).decode()
    assert re.search(old, text), text
    return forged(path, archived.zip, **{name: re.sub(old, new, text, count=1).encode()})


@pytest.mark.slow
def test_it_agrees_with_itself_and_a_cell_trained_again_has_the_same_bits(archived):
    done = archived.lra("verify", archived.zip, "--rerun", 1, "--cores", 2)
    assert done.returncode == 0, done.stdout
    assert "tables, figures: made again from the records, the same" in done.stdout
    assert re.search("ok  results/tiny/cells/.*: trained again, the same bits on cpu", done.stdout)


def test_restored_there_is_nothing_to_do_and_a_changed_model_reruns_alone(archived, tmp_path):
    restored = Archived.__new__(Archived)
    restored.folder = tmp_path / "restored"
    done = archived.lra("restore", archived.zip, restored.folder, "--cores", 2)
    assert done.returncode == 0, done.stdout
    assert re.search("source is commit .*, changed in 2 files", done.stdout)
    assert (restored.folder / "note.txt").read_text() == "not in git"
    assert "Nothing to be done" in restored.snakemake("-n").stdout
    with (restored.folder / "src/lra/attention/local.py").open("a") as file:
        file.write("\nX = 1\n")
    jobs = re.findall(r"^Job \d+: (.*)$", restored.snakemake("-n").stdout, re.MULTILINE)
    tiny = yaml.safe_load((restored.folder / "config/archived.yaml").read_text())
    assert {job for job in jobs if job.startswith("train")} == {
        f"train {task}/local/seed{seed}" for task in tiny["tasks"] for seed in tiny["seeds"]
    }
    assert not [job for job in jobs if "linear" in job or "generate" in job]
    cell = "results/tiny/cells/listops/local/seed1"
    ran = restored.snakemake("--cores", "2", "--", f"{cell}/score.json")
    assert ran.returncode == 0, ran.stdout
    jobs = re.findall(r"^Job \d+: (.*)$", ran.stdout, re.MULTILINE)
    assert jobs == ["train listops/local/seed1", "evaluate listops/local/seed1"]
    record = json.loads((restored.folder / cell / "train.json").read_text())
    assert (record["status"], record["git_commit"]) == ("ok", None)
    restored.folder = tmp_path / "bare"
    bare = archived.lra("restore", archived.zip, restored.folder, "--no-data")
    assert "has no data. Before you change what is trained, in it:" in bare.stdout
    assert "Nothing to be done" in restored.snakemake("-n").stdout
    again = archived.lra("restore", archived.zip, restored.folder)
    assert (again.returncode, again.stdout) == (
        1, f"lra: {restored.folder}: is there and not empty; name a new folder\n"
    )  # fmt: skip


def test_with_checkpoints_and_data_it_is_whole(archived, tmp_path):
    targets = json.loads(read(archived.zip, "archive.json"))["targets"]
    path = tmp_path / "whole.zip"
    done = archived.lra("archive", "--experiment", "config/tiny.yaml", "--out", path,
                        "--checkpoints", "--data", *targets, **archived.environment)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert json.loads(read(path, "archive.json"))["omitted"] == {}
    assert {*entries_of(path)} - {*entries_of(archived.zip)} == {
        name.relative_to(archived.folder).as_posix()
        for pattern in ("data/*/*.arrow", "tiny/cells/*/*/*/*.safetensors")
        for name in (archived.folder / "results").glob(pattern)
    }
    done = archived.lra("verify", path, "--cores", 2)
    assert done.returncode == 0, done.stdout
    restored = Archived.__new__(Archived)
    restored.folder = tmp_path / "restored"
    done = archived.lra("restore", path, restored.folder)
    assert "making" not in done.stdout
    assert "Nothing to be done" in restored.snakemake("-n").stdout


def test_the_same_results_give_the_same_bytes_at_another_time_and_place(archived, tmp_path):
    about = json.loads(read(archived.zip, "archive.json"))
    targets = about["targets"][::-1]
    before = os.umask(0o077)
    try:
        done = archived.lra(
            "archive", "--experiment", "config/tiny.yaml", "--out", tmp_path / "tiny.zip", *targets,
            python=sys.executable, **archived.environment, TZ="Pacific/Kiritimati", LC_ALL="C", PYTHONHASHSEED="7",
        )  # fmt: skip
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "tiny.zip").read_bytes() == archived.zip.read_bytes()


def test_what_is_private_is_not_in_it(archived):
    whole = {name: entry.content for name, entry in entries_of(archived.zip).items()}
    log = archived.log.relative_to(archived.folder).as_posix()
    assert whole[log].endswith(b"<home>/x <checkout>/y <secret>\n")
    for private in (str(archived.home), str(archived.folder), SECRET):
        assert [name for name, content in whole.items() if private.encode() in content] == []


def test_what_is_private_in_the_source_stops_it(archived, tmp_path):
    (archived.folder / "note.bin").write_bytes(b"\0" + str(archived.home).encode())
    (archived.folder / f"{'AKIA'}{'Z9' * 8}.txt").write_text("a secret as a name")
    try:
        done = archived.lra("archive", "--experiment", "config/tiny.yaml", "--out",
                            tmp_path / "x.zip", "results/tiny/span.parquet", **archived.environment)  # fmt: skip
    finally:
        for path in archived.folder.glob("AKIA*"):
            path.unlink()
        (archived.folder / "note.bin").unlink()
    assert done.returncode == 1
    assert (
        done.stdout
        == "lra: source/note.bin: holds a home name or path (and 1 more); nothing was archived\n"
    )
    assert not (tmp_path / "x.zip").exists()


def test_its_metadata_is_of_its_profile(archived):
    assert crate_profile.problems(json.loads(read(archived.zip, METADATA))) == []


@pytest.mark.parametrize(
    "name, old, new, line",
    [
        (f"{LINEAR}/score.json", r'"accuracy": [\d.]+', '"accuracy": 99.0',
         rf"{LINEAR}/score.json: accuracy 99.0 is not the [\d.]+ of predictions.parquet"),
        ("ro-crate-metadata.json", f'"{EVALUATE} {LINEAR}', f'"{EVALUATE} other',
         f"ro-crate-metadata.json: #job/{LINEAR}/.*: description: .*, but other files give .*"),
        ("ro-crate-metadata.json", r'"HowToStep"', '"HowToLeap"',
         "ro-crate-metadata.json: #step/.*: @type: 'HowToLeap', but other files give 'HowToStep'"),
        ("source/note.txt", r"not in git", "not in hg",
         "source/note.txt: is not the file that ro-crate-metadata.json describes"),
        ("source/slurm", r"slurm", "local",
         "source/slurm: is not the file that ro-crate-metadata.json describes"),
    ],
    ids=["score", "command", "profile", "source", "link"],
)  # fmt: skip
def test_an_edit_with_sums_to_match_is_found(archived, tmp_path, name, old, new, line):
    found = verify(edited(archived, tmp_path / "t.zip", name, old, new), 0, 2, print)
    assert found
    assert any(re.fullmatch(line, each) for each in found), found


def test_an_edited_table_figure_and_parquet_are_found_and_named(archived, tmp_path):
    names = ["tables/accuracy.csv", "figures/speed.svg", "figures/speed.png", "scores.parquet"]
    names = [f"results/tiny/{name}" for name in names]
    csv, svg, png = (read(archived.zip, name) for name in names[:3])
    zip_file.extract(archived.zip, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / names[3])
    pq.write_table(table.slice(1), tmp_path / "scores.parquet")
    content = [csv.replace(b"linear", b"lonear"), svg.replace(b"<path", b"<Path", 1), png + b"\0",
               (tmp_path / "scores.parquet").read_bytes()]  # fmt: skip
    changed = dict(zip(names, content, strict=True))
    bad = forged(tmp_path / "t.zip", archived.zip, whole=True, **changed)
    done = archived.lra("verify", bad, "--cores", 2)
    assert done.returncode == 1
    assert {f"{name}: is not what the records give" for name in names} <= {
        *done.stdout.splitlines()
    }
    assert done.stdout.endswith(f"lra: {bad}: 4 findings\n")
