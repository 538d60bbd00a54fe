"""Members are streamed in order; damage is one line, and names are never paths."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra.core.errors import LRAError
from lra.data.archives import members
from tiny import examples

FILES = {
    f"aclImdb/train/{label}/{i}_7.txt": random.Random(i).randbytes(3000) + b"A fine film.\n" * 40
    for i in range(20)
    for label in ("pos", "neg")
}
PACKED = {  # by the ending that says so; nothing depends on it
    ".tar": lambda tar: tar,
    ".tar.gz": lambda tar: gzip.compress(tar, mtime=0),
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.gz.gz": lambda tar: gzip.compress(gzip.compress(tar, mtime=0), mtime=0),
}
KINDS = [*PACKED, ".zip"]


def tar_of(entries: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in entries.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def packed(kind: str, files: dict[str, bytes]) -> bytes:
    return zip_of(files) if kind == ".zip" else PACKED[kind](tar_of(files))


def everything(_name: str) -> bool:
    return True


def contents(path: Path, wanted=everything) -> list[tuple[str, bytes]]:
    return [(name, file.read()) for name, file in members(path, wanted)]


def complaint(path: Path, wanted=everything) -> str:
    with pytest.raises(LRAError) as error:
        contents(path, wanted)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(params=KINDS)
def archive(request, tmp_path) -> Path:
    path = tmp_path / f"archive{request.param}"
    path.write_bytes(packed(request.param, FILES))
    return path


def test_members_come_in_the_order_of_the_archive(archive):
    assert contents(archive) == list(FILES.items())
    assert list(archive.parent.iterdir()) == [archive]


def test_members_are_chosen_by_name_or_by_a_function(archive):
    chosen = [name for name in FILES if "/pos/" in name]
    expected = [(name, FILES[name]) for name in chosen]
    assert contents(archive, chosen[::-1]) == expected
    assert contents(archive, lambda name: "/pos/" in name) == expected


def test_a_wanted_name_that_is_not_there_is_named_and_the_archive_kept(archive):
    assert "holds no file 'aclImdb/README'" in complaint(archive, ["aclImdb/README", *FILES])
    assert archive.exists()


def test_members_are_read_by_lines_and_closed_when_the_next_is_asked_for(archive):
    opened = []
    for name, file in members(archive, everything):
        assert b"".join(file) == FILES[name]
        opened.append(file)
    assert all(file.closed for file in opened)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["archive.gz", "archive.ZIP", "archive", "archive.tar"])
def test_the_kind_is_told_by_the_first_bytes_whatever_the_name(tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(packed(kind, FILES))
    assert contents(path) == list(FILES.items())


@pytest.mark.parametrize("kind", [".tar", ".zip"])
def test_names_are_normalised_and_what_file_managers_add_is_left_out(tmp_path, kind):
    junk = ["a/._x.txt", "._a", "__MACOSX/a/x.txt", "a/.DS_Store", "PaxHeader/x.txt",
            "a/PaxHeaders.42/x.txt", "a/PaxHeaders/x.txt", "a/Thumbs.db"]  # fmt: skip
    files = {"./a/x.txt": b"1", "a//y.txt": b"2", "a/./z.txt": b"3", "a/b._c": b"4"}
    path = tmp_path / f"archive{kind}"
    path.write_bytes(packed(kind, dict.fromkeys(junk, b"junk") | files))
    expected = {"a/x.txt": b"1", "a/y.txt": b"2", "a/z.txt": b"3", "a/b._c": b"4"}
    assert contents(path) == list(expected.items())
    assert contents(path, ["a/x.txt"]) == [("a/x.txt", b"1")]


@pytest.mark.parametrize("kind", [".tar.gz", ".zip"])
@pytest.mark.parametrize("evil", ["../evil", "/evil", "a/../../evil", "C:/evil", "a/.."])
def test_a_name_that_leads_out_is_one_line_and_the_archive_stays(tmp_path, kind, evil):
    path = tmp_path / f"archive{kind}"
    path.write_bytes(packed(kind, {"a/x": b"good", evil: b"evil"}))
    assert complaint(path) == f"{path}: '{evil}' leads out of the archive; nothing is read"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_that_is_there_twice_is_one_line(tmp_path):
    path = tmp_path / "archive.tar"
    path.write_bytes(tar_of({"a/x": b"1", "./a/x": b"2"}))
    assert complaint(path) == f"{path}: holds 'a/x' twice"
    assert contents(path, lambda name: name == "y") == []


def test_a_wanted_link_is_left_out_and_said(tmp_path, capfd):
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "a"
    path = tmp_path / "archive.tar"
    path.write_bytes(tar_of({"a": b"1", "link": link}))
    assert contents(path) == [("a", b"1")]
    assert capfd.readouterr().err == f"{path}: 'link' is a link; left out\n"


@pytest.mark.parametrize(("content", "said"), [
    (gzip.compress(b"<html>Sign in</html>"), "an HTML page in place of the archive"),
    (gzip.compress(b"1.0\tP\tQ\ta\tb\n" * 99), "no tar and no zip"),
    (gzip.compress(zip_of({"a": b"1"})), "no tar and no zip"),
], ids=["page", "table", "zip"])  # fmt: skip
def test_a_sound_file_that_is_no_archive_stays(tmp_path, content, said):
    path = tmp_path / "archive.gz"
    path.write_bytes(content)
    assert complaint(path) == f"{path}: what is compressed in it is {said}"
    assert path.exists()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_empty_archive_lacks_what_is_wanted(tmp_path, kind):
    path = tmp_path / f"archive{kind}"
    path.write_bytes(packed(kind, {}))
    assert complaint(path, ["a"]) == f"{path}: holds no file 'a'"
    assert path.exists()


def test_an_encrypted_file_is_no_damage(tmp_path):
    path, content = tmp_path / "archive.zip", bytearray(zip_of({"a": b"1"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert complaint(path) == f"{path}: 'a' is encrypted"
    assert path.exists()


@pytest.mark.parametrize("kind", KINDS)
@examples(60)
@given(data=st.data())
def test_truncated_anywhere_it_is_set_aside_in_one_line(tmp_path_factory, kind, data):
    content = packed(kind, FILES)
    # without some of the zeros at its end, a tar has lost nothing
    cut = data.draw(st.integers(0, len(content.rstrip(b"\0")) - 1), label="cut")
    path = tmp_path_factory.mktemp("cut") / f"archive{kind}"
    path.write_bytes(content[:cut])
    message = complaint(path)
    assert message.startswith(f"{path}: truncated or damaged (")
    assert not path.exists()
    assert Path(f"{path}.bad").read_bytes() == content[:cut]


def test_damage_met_while_reading_lines_is_the_same_one_line(tmp_path):
    path = tmp_path / "archive.tar.gz"
    content = packed(".tar.gz", {"pairs.tsv": random.Random(0).randbytes(2**20)})
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(LRAError, match="truncated or damaged"):
        for _, file in members(path, everything):
            b"".join(file)
    assert not path.exists()


@pytest.mark.parametrize("kind", [".tar.gz", ".zip"])
def test_no_flipped_bit_changes_what_is_read(tmp_path, kind):
    files = {"a/b.txt": b"hello " * 20, "a/c.txt": b"world " * 20}
    content = packed(kind, files)
    path, damaged = tmp_path / f"archive{kind}", 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            read = contents(path)
        except LRAError as error:
            assert str(error).startswith(f"{path}: "), bit
            damaged += 1
            continue
        if kind == ".zip":  # nothing checks a zip's list of names, kinds and comments
            assert {text for _, text in read} <= set(files.values()), bit
        else:
            assert read == list(files.items()), bit
    assert damaged > 2 * len(content)


@pytest.mark.parametrize("header", [3, 39])
def test_a_damaged_header_inside_a_sound_gzip_is_no_end(tmp_path, header):
    content = bytearray(tar_of(FILES))
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        content[tar.getmembers()[header].offset] ^= 1
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(gzip.compress(content))
    assert "a damaged header" in complaint(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>", bytes(1000), b"x"], ids=len)
def test_what_is_no_archive_is_set_aside(tmp_path, kind, content):
    path = tmp_path / f"archive{kind}"
    path.write_bytes(content)
    assert str(path) in complaint(path)
    assert [p.name for p in tmp_path.iterdir()] == [f"archive{kind}.bad"]


def test_a_missing_archive_is_named(tmp_path):
    path = tmp_path / "archive.zip"
    assert complaint(path) == f"{path}: No such file or directory"


@pytest.mark.parametrize("kind", [".tar.gz", ".zip"])
def test_links_reach_nothing(tmp_path, monkeypatch, kind):
    """`link/x` would be written to `target` by one who unpacks the link first."""
    room = tmp_path / "room"
    (room / "target").mkdir(parents=True)
    monkeypatch.chdir(room)
    evil = {"link/x": b"through", "a": b"good"}
    if kind == ".zip":
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(link, "target")
            archive.mkdir("folder")
            for name, content in evil.items():
                archive.writestr(name, content)
        content = stream.getvalue()
    else:
        links = {}
        for name, kind_of in (
            ("link", tarfile.SYMTYPE),
            ("hard", tarfile.LNKTYPE),
            ("folder", tarfile.DIRTYPE),
            ("pipe", tarfile.FIFOTYPE),
            ("disk", tarfile.BLKTYPE),
        ):
            links[name] = tarfile.TarInfo(name)
            links[name].type, links[name].linkname = kind_of, "target"
        content = gzip.compress(tar_of({**links, **evil}))
    path = room / f"archive{kind}"
    path.write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    assert contents(path) == list(evil.items())
    assert sorted(tmp_path.rglob("*")) == before
