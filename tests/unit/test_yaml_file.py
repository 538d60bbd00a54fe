"""The one reader of YAML: what it refuses, in one line that names file and line."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lra.config.yaml_file import parse_yaml, read_yaml
from lra.core.errors import LRAError
from tiny import ROOT, examples


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: 2\na: 3\n", "line 3: 'a' stands in line 1 already"),
        (b"x: {a: 1, a: 1}\n", "line 1: 'a' stands in line 1 already"),
        (b"x:\n  y: 1\n  z: 2\n  y: 1\n", "line 4: 'y' stands in line 2 already"),
        (b"a: .inf\n", "line 1: '.inf' is not a finite number"),
        (b"a: [1, -.INF]\n", "line 1: '-.INF' is not a finite number"),
        (b"a:\n  - .nan\n", "line 2: '.nan' is not a finite number"),
        (b"a: 9223372036854775808\n", "line 1: '9223372036854775808' is more than 64 bits hold"),
        (b"a: [-" + b"1" * 5000 + b"]\n", "line 1: '-11111"),
        (b"a: 010\n", "line 1: '010' is no decimal number"),
        (b"a: 0x10\n", "line 1: '0x10' is no decimal number"),
        (b"a: [1:30]\n", "line 1: '1:30' is no decimal number"),
        (b"1: a\n", "line 1: key '1' is of type int; write it in quotes"),
        (b"x:\n  no: a\n", "line 2: key 'no' is of type bool; write it in quotes"),
        (b"? [a, b]\n: 1\n", "line 1: a key is one word"),
        (b"- a\n- b\n", "list where keys and values are wanted"),
        (b"word\n", "str where keys and values are wanted"),
        (b"a: \xe9\n", "not UTF-8 text (byte 3)"),
        (b"a:\n\t- b\n", "not YAML: "),
        (b"a: [1\n", "not YAML: "),
        (b"a: !!python/object:x {}\n", "not YAML: "),
        (b"a: *b\n", "not YAML: "),
        (b"[" * 5000, "not YAML: "),
        (b"a: 2026-99-99\n", "not YAML: "),
    ],
)
def test_what_is_refused_is_one_line(tmp_path, content, said):
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(LRAError) as error:
        read_yaml(path, "config/x.yaml")
    assert str(error.value).startswith(f"config/x.yaml: {said}")
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(LRAError, match="x.yaml: no such file or directory"):
        read_yaml(tmp_path / "x.yaml")
    with pytest.raises(LRAError, match="is a directory"):
        read_yaml(tmp_path)


def test_our_own_files_read_as_safe_load_reads_them():
    files = [*ROOT.glob("config/**/*.yaml"), *ROOT.glob("profiles/**/*.yaml")]
    assert len(files) > 25
    for path in files:
        assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abcdef", min_size=1), inner),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text("abcdef", min_size=1), TREES, min_size=1, max_size=3))
@examples(100)
def test_what_is_written_is_read_back(tree):
    assert parse_yaml(yaml.safe_dump(tree, allow_unicode=True), "x") == tree


@given(st.text())
def test_any_text_is_a_mapping_or_one_line(text):
    try:
        assert isinstance(parse_yaml(text, "x"), dict)
    except LRAError as error:
        assert str(error).startswith("x: ")
