"""The parts of an archive: the box, what is private, the source."""

from __future__ import annotations

import os
import random
import subprocess
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lra.archive import box, source
from lra.archive.scrub import Private
from lra.archive.source import LINK, PROGRAM, Entry
from lra.errors import LRAError

ENTRIES = {
    "README.md": Entry(b"read me\n"),
    "results/a.json": Entry(b'{"a": 1}\n'),
    "source/run": Entry(b"#!/bin/sh\n", PROGRAM),
    "source/slurm": Entry(b"profiles/slurm", LINK),
    "source/profiles/slurm/x": Entry(b""),
}


def sealed(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {**entries, box.SUMS: Entry(box.sums(entries))}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("box") / "small.zip"
    box.write(path, sealed(ENTRIES))
    return path


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_any_flipped_bit_is_found(small, tmp_path_factory, data):
    content = bytearray(small.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path_factory.getbasetemp() / "flipped.zip"
    flipped.write_bytes(content)
    try:
        found = box.problems(flipped)
    except LRAError as error:
        found = [str(error)]
    assert found
    assert all("\n" not in line for line in found)


def test_a_box_is_whole_and_its_bytes_depend_on_its_content_alone(small, tmp_path):
    assert box.problems(small) == []
    names = list(sealed(ENTRIES))
    random.Random(1).shuffle(names)
    before = os.umask(0o077)
    try:
        box.write(tmp_path / "again.zip", {name: sealed(ENTRIES)[name] for name in names})
    finally:
        os.umask(before)
    assert (tmp_path / "again.zip").read_bytes() == small.read_bytes()
    box.extract(small, tmp_path / "out")
    assert (tmp_path / "out/source/slurm").readlink() == Path("profiles/slurm")
    assert (tmp_path / "out/source/run").stat().st_mode & 0o100
    sums = subprocess.run(["sha256sum", "--check", "--quiet", box.SUMS], cwd=tmp_path / "out",
                          capture_output=True, text=True)  # fmt: skip
    # sha256sum follows the link, which leads to a folder
    assert set(sums.stdout.split("\n")) <= {"source/slurm: FAILED open or read", ""}


@pytest.mark.parametrize(
    "change, line",
    [
        ({"README.md": Entry(b"read you\n")}, "README.md: its bytes are not those of SHA256SUMS"),
        ({"results/a.json": None}, "results/a.json: is missing"),
        ({"results/b.json": Entry(b"")}, "results/b.json: is not in SHA256SUMS; it was added"),
        ({"../b": Entry(b"")}, "'../b': leads out of the folder"),
        ({"/b": Entry(b"")}, "'/b': leads out of the folder"),
        ({"source/out": Entry(b"../../b", LINK)}, "source/out: a link that leads out of the folder"),
        ({"source/out": Entry(b"/etc", LINK)}, "source/out: a link that leads out of the folder"),
        ({"source/slurm/y": Entry(b"")}, "source/slurm/y: lies behind a link"),
        ({box.SUMS: None}, "SHA256SUMS: is missing"),
    ],
    ids=["changed", "missing", "added", "above", "absolute", "link-above", "link-absolute", "behind",
         "no-sums"],
)  # fmt: skip
def test_what_is_wrong_with_a_box_is_named(tmp_path, change, line):
    entries = {name: entry for name, entry in (sealed(ENTRIES) | change).items() if entry}
    box.write(tmp_path / "bad.zip", entries)
    assert box.problems(tmp_path / "bad.zip") == [line]
    if "leads out" in line or "behind" in line:
        with pytest.raises(LRAError, match="leads out|behind"):
            box.extract(tmp_path / "bad.zip", tmp_path / "out")
        assert not (tmp_path / "b").exists()


def test_a_comment_in_the_zip_is_found(small, tmp_path):
    path = tmp_path / "hidden.zip"
    path.write_bytes(small.read_bytes())
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"hidden"
    assert box.problems(path) == [
        "hidden.zip: bytes between its files are not as they were written"
    ]


@pytest.fixture
def alice(tmp_path) -> Private:
    return Private.here(
        tmp_path, {"HUB_TOKEN": "open sesame 1"}, Path("/data/alice"), "alice", "mars.example.org"
    )


@pytest.mark.parametrize(
    "text, clean",
    [
        ("/data/alice/x.log", "<home>/x.log"),
        ("/data/alice2/x.log", "/data/alice2/x.log"),
        ("File '/home/bob/lra/a.py'", "File '<home>/lra/a.py'"),
        ("by alice on mars", "by <user> on <host>"),
        ("mars.example.org:8080", "<host>:8080"),
        ("malice, marsh", "malice, marsh"),
        ("token=open sesame 1", "token=<secret>"),
        ("https://bob:" + "pa55@host/x", "https://<secret>@host/x"),
        ("hf_" + "a" * 34, "<secret>"),
        ("AKIA" + "A1B2" * 4, "<secret>"),
    ],
)
def test_what_is_private_is_replaced(alice, text, clean):
    assert alice.scrubbed(text) == clean
    assert bool(alice.found("a.log", text.encode())) == (text != clean)
    assert alice.found("a.log", clean.encode()) == []


def test_what_is_private_is_found_in_a_compressed_table(alice):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"reason": ["ran on mars"] * 1000}), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    assert alice.found("scores.parquet", content) == ["scores.parquet: holds a host name or path"]


def test_of_a_patch_added_lines_are_scrubbed(alice):
    patch = "+++ b/alice.txt\n alice\n-alice\n+alice\n"
    assert alice.scrubbed_patch(patch) == "+++ b/alice.txt\n alice\n-alice\n+<user>\n"
    assert alice.found("source.patch", patch.encode())


@pytest.fixture
def tree(tmp_path) -> Path:
    """A git checkout with every kind of change."""
    root = tmp_path / "tree"
    root.mkdir()

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *who, *arguments], cwd=root, check=True)

    for name in ("kept", "edited", "removed", "runnable"):
        (root / name).write_text(f"{name}\n" * 5)
    (root / ".gitignore").write_text("ignored\n")
    (root / "link").symlink_to("kept")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    (root / "edited").write_text("edited\nédité\n")
    (root / "removed").unlink()
    (root / "runnable").chmod(0o755)
    (root / "ignored").write_text("no")
    (root / "new folder").mkdir()
    (root / "new folder/binary").write_bytes(bytes(range(256)))
    (root / "new-link").symlink_to("edited")
    return root


def test_a_commit_and_its_patch_are_the_tree(tree, tmp_path):
    status = subprocess.run(["git", "status", "--short"], cwd=tree, capture_output=True).stdout
    found = source.read(tree)
    assert source.state(tree).startswith(f"{found.commit}+")
    again = tmp_path / "again/source"
    box.write(tmp_path / "a.zip", {f"source/{name}": file for name, file in found.files.items()})
    box.extract(tmp_path / "a.zip", again.parent)
    (tmp_path / "source.patch").write_bytes(found.patch)
    source.apply(tmp_path / "source.patch", again)
    subprocess.run(["rm", "-r", ".git", "ignored"], cwd=tree, check=True)
    assert source.tree_hash(again) == source.tree_hash(tree)
    assert b"edited" in status  # git's own index is as it was
    with pytest.raises(LRAError, match=r"source\.patch: does not apply"):
        source.apply(tmp_path / "source.patch", again)


def test_outside_of_git_there_is_no_archive(tmp_path):
    with pytest.raises(LRAError, match="an archive records the commit"):
        source.read(tmp_path)
