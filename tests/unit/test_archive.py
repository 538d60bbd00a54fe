"""The parts of an archive: the zip, and what is private."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout import sources
from lra.archive import zip_file
from lra.archive.redact import Private
from lra.archive.source import LINK, PROGRAM, Entry
from lra.core.errors import LRAError
from tiny import ROOT, examples, tmpfs

ENTRIES = {
    "README.md": Entry(b"read me\n"),
    "results/a.json": Entry(b'{"a": 1}\n'),
    "source/run": Entry(b"#!/bin/sh\n", PROGRAM),
    "source/slurm": Entry(b"profiles/slurm", LINK),
    "source/profiles/slurm/x": Entry(b""),
}


def sealed(entries: dict[str, Entry]) -> dict[str, Entry]:
    return {**entries, zip_file.SUMS: Entry(zip_file.sums(entries))}


def findings(path: Path) -> list[str]:
    """Of a zip, whether it can be unpacked or not."""
    with tempfile.TemporaryDirectory() as name:
        try:
            return zip_file.unpack(path, Path(name, "out"))
        except LRAError as error:
            return [str(error).removeprefix(f"{path}: ").replace(f"{name}/out/", "")]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("zip") / "small.zip"
    zip_file.write(path, sealed(ENTRIES))
    return path


@given(st.data())
@examples(300)
def test_any_flipped_bit_is_found(small, tmp_path_factory, data):
    content = bytearray(small.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    flipped = tmp_path_factory.getbasetemp() / "flipped.zip"
    flipped.write_bytes(content)
    found = findings(flipped)
    assert found
    assert all("\n" not in line for line in found)


def test_a_zip_is_whole_and_its_bytes_depend_on_its_content_alone(small, tmp_path):
    assert findings(small) == []
    names = list(sealed(ENTRIES))
    random.Random(1).shuffle(names)
    before = os.umask(0o077)
    try:
        zip_file.write(tmp_path / "again.zip", {name: sealed(ENTRIES)[name] for name in names})
    finally:
        os.umask(before)
    assert (tmp_path / "again.zip").read_bytes() == small.read_bytes()
    zip_file.extract(small, tmp_path / "out")
    assert (tmp_path / "out/source/slurm").readlink() == Path("profiles/slurm")
    assert (tmp_path / "out/source/run").stat().st_mode & 0o100
    sums = subprocess.run(["sha256sum", "--check", "--quiet", zip_file.SUMS], cwd=tmp_path / "out",
                          capture_output=True, text=True)  # fmt: skip
    # sha256sum follows the link, which leads to a folder
    assert set(sums.stdout.split("\n")) <= {"source/slurm: FAILED open or read", ""}


LINK_OUT = "source/{}: a link that leads out, or lies where results go"


@pytest.mark.parametrize(
    "change, line",
    [
        ({"README.md": Entry(b"read you\n")}, "README.md: its bytes are not those of SHA256SUMS"),
        ({"results/a.json": None}, "results/a.json: is missing"),
        ({"results/b.json": Entry(b"")}, "results/b.json: is not in SHA256SUMS; it was added"),
        ({"../b": Entry(b"")}, "'../b': leads out of the folder"),
        ({"/b": Entry(b"")}, "'/b': leads out of the folder"),
        ({"source/out": Entry(b"../../b", LINK)}, LINK_OUT.format("out")),
        ({"source/out": Entry(b"/etc", LINK)}, LINK_OUT.format("out")),
        ({"source/slurm/y": Entry(b"")}, "source/slurm: file exists"),
        ({"source/a/b/c/up": Entry(b"../..", LINK),
          "source/home": Entry(b"a/b/c/up/../../home", LINK)},
         LINK_OUT.format("home")),
        ({"source/results": Entry(b"run", LINK)}, LINK_OUT.format("results")),
        ({"source/.git/config": Entry(b"")}, "source/.git/config: git would obey it"),
        ({zip_file.SUMS: None}, "SHA256SUMS: is missing"),
    ],
    ids=["changed", "missing", "added", "above", "absolute", "link-above", "link-absolute", "behind",
         "chain", "in-results", "git", "no-sums"],
)  # fmt: skip
def test_what_is_wrong_with_a_zip_is_named(tmp_path, change, line):
    entries = {name: entry for name, entry in (sealed(ENTRIES) | change).items() if entry}
    zip_file.write(tmp_path / "bad.zip", entries)
    assert findings(tmp_path / "bad.zip") == [line]
    if "leads" in line or "exists" in line:
        with pytest.raises(LRAError, match="leads|exists"):
            zip_file.extract(tmp_path / "bad.zip", tmp_path / "out")
        assert not (tmp_path / "b").exists()


def test_a_comment_in_the_zip_is_found(small, tmp_path):
    path = tmp_path / "hidden.zip"
    path.write_bytes(small.read_bytes())
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"hidden"
    assert findings(path) == ["hidden.zip: has bytes that belong to none of its files"]


def test_a_compressed_file_is_refused_before_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as file:
        file.writestr("x", bytes(1 << 20), zipfile.ZIP_DEFLATED)
    line = "x: is compressed, which an archive never is"
    assert findings(tmp_path / "bomb.zip") == [line]
    with pytest.raises(LRAError, match=line):
        zip_file.extract(tmp_path / "bomb.zip", tmp_path / "out")


@pytest.mark.parametrize("size", ["64k", "1536k"], ids=["unpacking", "checking"])
def test_a_full_disk_is_one_line_also_while_checking(tmp_path, size):
    zip_file.write(tmp_path / "large.zip", sealed({"x": Entry(bytes(1 << 20))}))
    with tmpfs(tmp_path / "disk", f"size={size}") as disk:
        with pytest.raises(LRAError, match=f"{disk}/.*: no space left on device"):
            zip_file.unpack(tmp_path / "large.zip", disk / "out")
        assert "again.zip" not in str({*disk.rglob("*")})


SECRETS = {
    "HUB_TOKEN": "open sesame 1",
    "AWS_SECRET_ACCESS_KEY": "/aBcD+efgh1234/5678ijkl",
    "TOKEN_FILE": "/run/secrets/token",
}


@pytest.fixture
def alice(tmp_path) -> Private:
    return Private(
        tmp_path, SECRETS, Path("/data/alice"), "alice", "mars.example.org"
    )  # fmt: skip


@pytest.mark.parametrize(
    "text, clean",
    [
        ("/data/alice/x.log", "<home>/x.log"),
        ("/data/alice2/x.log", "/data/alice2/x.log"),
        ("/scratch/alice/x /scratch/Alice_1/x", "/scratch/<user>/x /scratch/<user>_1/x"),
        ("/cluster/home/bob/x", "<home>/x"),
        ("https://example.org/home/page", "https://example.org/home/page"),
        ("ALICE, alice_1 on Mars", "<user>, <user>_1 on <host>"),
        ("mail alice@venus, bob@mars", "mail <user>@venus, bob@<host>"),
        ("Host: gpu17\nhost: <host>", "Host: <host>\nhost: <host>"),
        ("File '/home/bob/lra/a.py'", "File '<home>/lra/a.py'"),
        ("by alice on mars", "by <user> on <host>"),
        ("mars.example.org:8080", "<host>:8080"),
        ("malice, marsh", "malice, marsh"),
        ("token=open sesame 1", "token=<secret>"),
        ("https://bob:" + "pa55@host/x", "https://<secret>@host/x"),
        ("hf_" + "a" * 34, "<secret>"),
        ("AKIA" + "A1B2" * 4, "<secret>"),
        ("-----BEGIN PGP PRIVATE" + " KEY BLOCK-----", "<secret>"),
        ("/aBcD+efgh1234/5678ijkl", "<secret>"),
    ],
)
def test_what_is_private_is_replaced(alice, text, clean):
    assert alice.redacted(text, "a.log") == clean
    assert bool(alice.found("a.log", text.encode())) == (text != clean)
    assert alice.found("a.log", clean.encode()) == []


@pytest.mark.parametrize("home", [Path("/", "root"), Path("/home/ubuntu")], ids=str)
def test_a_home_of_nobody_may_be_an_example_in_the_source_alone(tmp_path, home):
    private = Private(tmp_path, {}, home, home.name, "vm")
    text = f"cache: {home}/.cache, {home}; {home}s a{home}"
    assert private.redacted(text).startswith("cache: <home>/.cache, <home>; ")
    assert private.found("source/tests/test_x.py", text.encode()) == []
    assert private.found("results/a.json", text.encode())


def test_the_source_as_it_stands_can_be_archived_by_who_tests_it():
    private = Private(ROOT)
    for name in sources():
        if (ROOT / name).is_file():
            assert private.found(f"source/{name}", (ROOT / name).read_bytes()) == []


def test_a_path_to_a_secret_is_none(alice):
    assert alice.redacted("/run/secrets/token") == "/run/secrets/token"


def test_a_name_that_is_a_word_counts_in_logs_alone(tmp_path):
    private = Private(tmp_path, {}, tmp_path, "node", "gpu")
    text = (
        '{"node": "of a tree", "gpu": {"watts": 1}, "where": "/scratch/node/x", "to": "node@gpu"}'
    )
    clean = text.replace("/node/", "/<user>/").replace("node@gpu", "<user>@<host>")
    assert private.redacted(text) == clean
    assert private.found("results/a.json", clean.encode()) == []
    assert private.found("results/a.log", b"on gpu")


def test_what_is_private_is_found_in_a_compressed_table(alice):
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table({"reason": ["ran on mars.example.org"] * 1000}), sink, compression="zstd"
    )
    content = sink.getvalue().to_pybytes()
    assert alice.found("scores.parquet", content) == ["scores.parquet: holds a host name or path"]


def test_of_source_the_home_of_its_owner_is_replaced_and_examples_stay(alice):
    text = "/data/alice/x /home/you/x\n"
    assert alice.redacted(text, "source/x.py") == "<home>/x /home/you/x\n"
    assert alice.found("source/x.py", text.encode())
    assert alice.found("source/x.py", b" see /home/you\n") == []
