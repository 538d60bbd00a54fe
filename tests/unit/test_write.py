"""What goes into an archive, what is kept out of it, and where it can be unpacked to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from handmade import CELL, DATA, HOME, TABLE, TIME, Handmade

from forged import entries_of, forged, read
from lra.archive import jobs, manifest, restore, source, verify, zip_file
from lra.core.errors import LRAError
from lra.core.files import sha256
from tiny import ROOT

ARROWS = [f"{DATA}/{name}.arrow" for name in ("test", "train", "val")]


@pytest.fixture
def handmade(tmp_path) -> Handmade:
    return Handmade(tmp_path / "checkout")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "demo.zip"


def test_its_readme_has_the_table_and_the_two_commands(handmade, out):
    handmade.archive(out)
    text = read(out, "README.md").decode()
    assert (handmade.root / TABLE).read_text() in text
    commands = re.search(r"```\n(.*?)```", text, re.DOTALL)[1]
    assert commands == "lra verify demo.zip\nlra restore demo.zip DIR\n"


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_data_and_checkpoints_go_in_where_asked_for(handmade, out, tmp_path, data, checkpoints):
    handmade.archive(out, with_data=data, with_checkpoints=checkpoints)
    weights = [f"{CELL}/checkpoint.safetensors"]
    inside = ARROWS * data + weights * checkpoints
    about = json.loads(read(out, "archive.json"))
    assert {*about["omitted"]} == {*ARROWS, *weights} - {*inside}
    assert {*inside} <= {*entries_of(out)}
    said = []
    verify.verify(out, 0, 1, said.append)
    assert said[1:] == ["crate, records: agree with one another"]
    restore.restore(out, tmp_path / "restored")
    for name in inside:
        path = tmp_path / "restored" / name
        assert path.read_bytes() == (handmade.root / name).read_bytes()


def test_other_data_is_found_though_all_that_follows_from_it_was_made_to_match(
    handmade, out, tmp_path
):
    handmade.archive(out, with_data=True)
    bad = forged(tmp_path / "t.zip", out, whole=True, **{ARROWS[0]: b"other"})
    line = f"{ARROWS[0]}: its SHA-256 is not that of dataset.json"
    assert verify.verify(bad, 0, 1, print) == [line]


def test_data_that_was_changed_is_not_archived(handmade, out):
    handmade.write(ARROWS[0], "other")
    with pytest.raises(LRAError, match=f"{ARROWS[0]}: its SHA-256 is not that of dataset.json"):
        handmade.archive(out, with_data=True)


def test_what_is_not_there_has_the_checksum_that_was_recorded(handmade, out):
    """As in a restored folder, of which an archive is written again."""
    handmade.archive(out)
    before = json.loads(read(out, "archive.json"))["omitted"]
    for name in before:
        (handmade.root / name).unlink()
    handmade.archive(out)
    assert json.loads(read(out, "archive.json"))["omitted"] == before


def test_a_binary_file_of_the_source_is_searched(handmade, out):
    handmade.write("note.bin", b"\0" * 99 + f"{HOME}/x".encode())
    with pytest.raises(
        LRAError, match=r"source/note\.bin: holds a home name or path .*; nothing was"
    ):
        handmade.archive(out)
    assert not out.exists()


def test_a_reader_learns_what_was_added_and_what_was_replaced(handmade, out, tmp_path):
    handmade.write("notes.txt", f"mine, in {HOME}\n")
    lines = handmade.archive(out)
    assert "added, though git does not track them: notes.txt" in lines
    assert "private text in changed source was replaced: it is not exactly what ran" in lines
    assert "those lines are not exactly what ran" in read(out, "README.md").decode()
    restore.restore(out, tmp_path / "restored")
    assert (tmp_path / "restored/notes.txt").read_text() == "mine, in <home>\n"
    said = []
    verify.verify(out, 0, 1, said.append)
    assert len(said) == 2  # what was replaced is no finding


def test_an_input_whose_text_was_replaced_is_no_finding(handmade, out):
    config = handmade.root / "Snakefile"  # the table's job reads it
    config.write_text(f"rule all: # {HOME}\n")
    sums = {"Snakefile": jobs.CHECKSUM + sha256(config)}
    table = handmade.jobs[-1]
    told = table.model_copy(update={"input_checksums": table.input_checksums | sums})
    jobs.write_records([told], handmade.root)
    handmade.archive(out)
    said = []
    verify.verify(out, 0, 1, said.append)
    assert len(said) == 2


@pytest.mark.parametrize("name, target", [("elsewhere", "/tmp"), ("results/link", "demo")])
def test_no_link_of_the_source_leads_results_out(
    handmade, out, tmp_path, monkeypatch, name, target
):
    handmade.write(".gitignore", ".snakemake/\nresults/*/\n")
    (handmade.root / name).symlink_to(target)
    line = f"source/{name}: a link that leads out, or lies where results go"
    with pytest.raises(LRAError, match=line):
        handmade.archive(out)
    with monkeypatch.context() as forger:
        forger.setattr(source, "check_links", lambda *_: None)
        handmade.archive(out)
    with pytest.raises(LRAError, match=line):
        restore.restore(out, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_made_again_the_data_has_its_times_and_records(handmade, out, tmp_path, monkeypatch):
    """A split of more than 1 MB is compared by its time alone."""
    handmade.write(f"{DATA}/generate.log", "made\n")
    handmade.archive(out)
    folder = tmp_path / "restored"
    about = restore.restore(out, folder)
    before = jobs.behind(about.targets, folder)

    def snakemake(folder: Path, *_: str) -> subprocess.CompletedProcess:
        for name in ARROWS:
            (folder / name).write_bytes((handmade.root / name).read_bytes())
        (folder / f"{DATA}/generate.log").write_text("made again\n")
        jobs.write_records([before[0].model_copy(update={"endtime": 2e9})], folder)
        return subprocess.CompletedProcess([], 0, "")

    monkeypatch.setattr(restore, "snakemake", snakemake)
    restore.make_data(folder, about, 1)
    assert {(folder / name).stat().st_mtime for name in ARROWS} == {TIME + 5}
    assert jobs.behind(about.targets, folder) == before
    assert (folder / f"{DATA}/generate.log").read_text() == "made\n"


def test_a_damaged_zip_is_restored_to_nothing(handmade, out, tmp_path):
    handmade.archive(out)
    content = bytearray(out.read_bytes())
    content[content.index(b"| linear |")] ^= 1
    out.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "lra.cli", "restore", out, tmp_path / "restored"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(rf"lra: {out}: not an archive, or damaged .Bad CRC-32 for file 'README.md'.\n",
                        done.stderr)  # fmt: skip
    assert not (tmp_path / "restored").exists()


def test_where_libraries_differ_a_finding_says_so(handmade, out, tmp_path, monkeypatch):
    handmade.archive(out)
    zip_file.extract(out, tmp_path / "unpacked")
    about, _ = manifest.read(tmp_path / "unpacked")
    assert verify._other_versions(about) == ""
    here = about.versions["matplotlib"]
    other = about.model_copy(update={"versions": about.versions | {"matplotlib": "3.0"}})
    assert verify._other_versions(other) == (
        f" (made with matplotlib 3.0, here {here}: install the archive's lock to compare)"
    )


def test_hardware_is_what_the_records_say():
    told = {"device": "cuda: H100", "torch_version": "2.13.0+cu126", "gpu": {"driver": "550"}}
    files = {"results/a.json": source.Entry(json.dumps(told).encode())}
    assert manifest._hardware(files) == {"cuda: H100, torch 2.13.0+cu126, driver 550": 1}
