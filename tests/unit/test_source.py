"""The source of an archive: a checkout as it is, the same bytes whatever a user has set."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from checkout import commit_all, git
from lra.archive import source, zip_file
from lra.core.errors import LRAError
from lra.results import provenance


@pytest.fixture
def tree(tmp_path) -> Path:
    """A git checkout with every kind of change."""
    root = tmp_path / "tree"
    root.mkdir()

    for name in ("kept", "edited", "removed", "runnable"):
        (root / name).write_text(f"{name}\n" * 5)
    (root / ".gitignore").write_text("ignored\n")
    (root / "link").symlink_to("kept")
    commit_all(root)
    (root / "edited").write_text("edited\nédité\n")
    (root / "removed").unlink()
    (root / "runnable").chmod(0o755)
    (root / "ignored").write_text("no")
    (root / "new folder").mkdir()
    (root / "new folder/binary").write_bytes(bytes(range(256)))
    (root / "new-link").symlink_to("edited")
    return root


def test_it_is_the_tree_as_it_is_and_says_what_left_the_commit(tree, tmp_path):
    before = everything_in(tree / ".git")
    found = source.read(tree)
    assert found.commit == git(tree, "rev-parse", "HEAD").strip()
    assert source.state(tree).startswith(f"{found.commit}+")
    assert everything_in(tree / ".git") == before
    assert found.changed == ["edited", "new folder/binary", "new-link", "removed", "runnable"]
    assert found.added == ["new folder/binary", "new-link"]
    again = tmp_path / "again/source"
    zip_file.write(
        tmp_path / "a.zip", {f"source/{name}": file for name, file in found.files.items()}
    )
    zip_file.extract(tmp_path / "a.zip", again.parent)
    subprocess.run(["rm", "-r", ".git", "ignored"], cwd=tree, check=True)
    hashes = [source.tree_hash(files) for files in (source.files_in(again), found.files)]
    assert hashes == [source.tree_hash(source.files_in(tree))] * 2
    assert found.files.keys() == source.files_in(tree).keys()


def test_the_state_of_a_checkout_is_its_commit_and_changes_with_every_edit(tree):
    states = [source.state(tree)]
    (tree / "edited").write_text("edited again")
    states.append(source.state(tree))
    (tree / "link").unlink()
    (tree / "link").symlink_to("edited")
    states.append(source.state(tree))
    commit_all(tree)
    commit = source.read(tree).commit
    assert source.state(tree) == commit
    assert len({*states, commit}) == 4


def everything_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BLOCKS = [f"def {name}():\n    x\n\n" for name in "abcdefgh"]


@pytest.mark.parametrize(
    "setting",
    ["diff.suppressBlankEmpty=true", "diff.indentHeuristic=false", "diff.interHunkContext=50",
     "core.compression=0", "core.autocrlf=true", "diff.noprefix=true", "diff.context=9",
     "diff.orderFile={}/order", "core.abbrev=4", "core.attributesFile={}/attributes"],
)  # fmt: skip
def test_what_a_user_has_set_in_git_changes_no_byte(tree, tmp_path, monkeypatch, setting):
    (tree / "blocks").write_text("".join(BLOCKS))
    git(tree, "add", "blocks")
    git(tree, "commit", "--quiet", "--message", "second")
    (tree / "blocks").write_text(
        "".join([*BLOCKS[:2], "def new():\n    x\n\n", *BLOCKS[2:], "end"])
    )
    (tree / "crlf").write_bytes(b"a\r\nb\r\n")
    (tmp_path / "order").write_text("new*\n")
    (tmp_path / "attributes").write_text("* -diff\n")
    before = source.read(tree)
    hashed = source.tree_hash(before.files)
    key, value = setting.format(tmp_path).split("=")
    for name, text in (("COUNT", "1"), ("KEY_0", key), ("VALUE_0", value)):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", text)
    assert source.read(tree) == before
    assert source.tree_hash(source.read(tree).files) == hashed


def test_a_part_of_a_checkout_and_one_within_it_are_refused(tree):
    with pytest.raises(LRAError, match="is the folder new folder/ of a git checkout"):
        source.state(tree / "new folder")
    git(tree, "init", "--quiet", "inner")
    (tree / "inner/x").write_text("x")
    git(tree / "inner", "add", ".")
    git(tree / "inner", "commit", "--quiet", "--message", "first")
    with pytest.raises(LRAError, match="inner: is a git repository of its own"):
        source.read(tree)


def test_a_record_names_the_commit_of_its_own_checkout_alone(tree, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tree)
    assert provenance.git_commit() == f"{source.read(tree).commit}-dirty"
    monkeypatch.setattr(provenance, "ROOT", tree / "new folder")
    assert provenance.git_commit() is None


def test_outside_of_git_there_is_no_archive(tmp_path):
    with pytest.raises(LRAError, match="an archive records the commit"):
        source.read(tmp_path)
