"""Files that people edit by hand: what is wrong in one is one line that names it."""

from __future__ import annotations

import shutil

import pytest

from lra.config import protocol_source
from lra.config.resolve import Arena
from lra.core.errors import LRAError
from lra.stats import published
from tiny import ROOT

REFERENCE = ROOT / "config/reference"
SCORES = (REFERENCE / "scores.csv").read_bytes()
PAPER = b"task,model,key,value,source,ours,reason\n*,*,base,paper,,,\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SCORES + b"caf\xe9,1,1,1,1,1,1,1\n", "not UTF-8 text (byte "),
        (SCORES.replace(b"36.37", b"36;37"), "transformer: listops: '36;37' is neither a number"),
        (SCORES.replace(b"36.37", b"nan"), "transformer: listops: 'nan' is neither a number"),
        (b"", "no column avg, image"),
        (None, "no such file or directory"),
    ],
)
def test_published_values(tmp_path, content, said):
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LRAError) as error:
        published.scores(path)
    assert str(error.value).startswith(f"{path}: {said}")


def test_a_protocols_source_that_is_based_on_itself(tmp_path):
    for name in ("paper", "other"):
        (tmp_path / f"{name}.csv").write_bytes(PAPER)
        with pytest.raises(LRAError, match=r"paper\.csv: line 2: .*paper\.csv is based on itself"):
            protocol_source.read(tmp_path / f"{name}.csv")
    (tmp_path / "paper.csv").write_bytes(b"\xff")
    with pytest.raises(LRAError, match=r"paper\.csv: not UTF-8 text"):
        protocol_source.read(tmp_path / "paper.csv")


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("datasets.yaml", "image-small:", "listops-small-x: 3\nimage-small:", "listops-small-x: "),
        ("datasets.yaml", "  max_len: 50\n", "  max_len: yes\n", "listops-small.max_len: a number"),
        ("datasets.yaml", "  max_len: 50\n", "  max_len: 50\n  contact_sheet: true\n",
         "listops-small.contact_sheet: shows images, and listops has none"),
        ("tasks/listops.yaml", "title: ", 'title: "a\\nb" #', "title: String should match"),
        ("config.yaml", "threads: 1  ", "threads: on  ", "threads: a number is wanted, not True"),
        ("config.yaml", "seeds: [1, 2]", "seeds: [1, yes]", "seeds: a number is wanted, not [1, T"),
    ],
)  # fmt: skip
def test_configuration(tmp_path, file, old, new, said):
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    text = (config / file).read_text(encoding="utf-8")
    assert old in text
    (config / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(LRAError) as error:
        Arena.read(config / "config.yaml")
    assert str(error.value).startswith(f"config/{file}: {said}")
