"""What a user's environment and machine do to a process: cleaned, refused in one line, or done without."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkout import commit_all
from lra.core import environment, git
from lra.core.errors import LRAError
from lra.core.locks import LOCKLESS, alone, hold_folder
from lra.results import provenance
from tiny import ROOT, SMALL_LISTOPS, examples

HOSTILE = {
    "MPLBACKEND": "module://nowhere.inline", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1",
    "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1", "LC_ALL": "POSIX", "NUMBA_DISABLE_JIT": "1",
    "GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere", "OMP_THREAD_LIMIT": "1",
    "NVIDIA_TF32_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":0:0",
}  # fmt: skip
OWN = {
    "PYTHONPATH": "/modules/numpy", "NUMBA_CACHE_DIR": "/scratch", "GIT_CONFIG_COUNT": "0",
    "HOME": "/home/a b", "OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "1",
}  # fmt: skip


@examples(50)
@given(st.sets(st.sampled_from(sorted(HOSTILE))), st.sets(st.sampled_from(sorted(OWN))),
       st.text("abc :;'\"\\$`*?~!#%&()[]<>|", min_size=1, max_size=12))  # fmt: skip
def test_a_jobs_shell_and_a_verb_clean_the_environment_alike(hostile, own, folder):
    before = {name: HOSTILE[name] for name in hostile} | {name: OWN[name] for name in own}
    lines = f"set -euo pipefail; {environment.shell_lines(Path('/', folder))} env --null"
    shell = subprocess.run(
        ["/bin/bash", "-c", lines], env={"PATH": os.environ["PATH"], **before}, check=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    found = dict(each.split("=", 1) for each in shell.stdout.decode().split("\0")[:-1])
    assert found.pop(environment.CHECKOUT) == str(Path("/", folder))
    known = environment.cleaned(before)
    assert {name: found.get(name) for name in known} == known
    assert found.keys().isdisjoint(HOSTILE.keys() - environment.SET.keys())
    assert {name: known[name] for name in own} == {name: OWN[name] for name in own}


def test_another_checkouts_code_is_refused(tmp_path):
    environment.check_checkout({})
    environment.check_checkout({environment.CHECKOUT: str(ROOT)})
    (tmp_path / "link").symlink_to(ROOT)
    environment.check_checkout({environment.CHECKOUT: str(tmp_path / "link")})
    with pytest.raises(LRAError, match=f"the code of {tmp_path}, but the code of {ROOT} runs"):
        environment.check_checkout({environment.CHECKOUT: str(tmp_path)})


def test_a_verb_says_so_and_shows_any_text_on_any_terminal():
    other = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "0", "LC_ALL": "C",
             "PYTHONIOENCODING": "ascii", environment.CHECKOUT: "/else\N{EN DASH}where"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "lra.cli", "depends", "train"], env=other, capture_output=True
    )
    assert done.returncode == 1
    said = done.stderr.decode("ascii")
    assert said.startswith("lra: the plan was made with the code of /else")
    assert said.count("\n") == 1


def test_the_commit_is_found_whatever_git_is_told_and_whoever_owns_it(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a")
    commit_all(tmp_path)
    commit = git.git(tmp_path, "rev-parse", "HEAD")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert git.git(tmp_path, "rev-parse", "HEAD") == commit
    if os.getuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        assert git.git(tmp_path, "rev-parse", "HEAD") == commit


def test_a_commit_that_cannot_be_had_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git_commit() is None
    assert capsys.readouterr().err == ""
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    assert provenance.git_commit() is None
    assert "the record names no commit" in capsys.readouterr().err


@pytest.fixture(params=sorted(LOCKLESS))
def lockless(monkeypatch, request) -> None:
    """A file system that has no locks, and says so in its way."""

    def flock(fd: int, operation: int) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", flock)


HOLD = """
import errno, fcntl, os, sys
def flock(fd, operation):
    raise OSError(errno.ENOSYS, "none")
fcntl.flock = flock
from pathlib import Path
from lra.core.locks import hold_folder
lock = hold_folder(Path(sys.argv[1]))
os._exit(9)
"""


def test_without_kernel_locks_a_folder_is_still_for_one(lockless, tmp_path):
    lock = hold_folder(tmp_path)
    with pytest.raises(
        LRAError, match=f"running here already.*{os.getpid()} on .*; if none runs, remove"
    ):
        hold_folder(tmp_path)
    lock.release()
    hold_folder(tmp_path).release()
    with alone(tmp_path / "data", print):
        pass


def test_without_kernel_locks_a_killed_holder_leaves_none(tmp_path, monkeypatch):
    command = [sys.executable, "-c", HOLD, tmp_path]
    path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for _ in range(2):
        assert subprocess.run(command, env=path, capture_output=True).returncode == 9
    assert (tmp_path / ".snakemake/run.lock.soft").exists()


COMPILED = """
import json, sys
from lra.core.compiled import compiled
from numba.core import caching
caching.CacheImpl._locator_classes = []
def add(a, b):
    return a + b
print(json.dumps([compiled(add)(1, 2), compiled(add, forceinline=True)(1, 2)]))
"""


def test_without_a_folder_for_its_cache_numba_compiles():
    command = [sys.executable, "-c", COMPILED]
    path = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    assert json.loads(subprocess.check_output(command, env=path)) == [3, 3]


def generate(out: Path, train: int) -> list:
    """The command that makes a small data set with two workers."""
    recipe = {"source": "listops", "options": SMALL_LISTOPS, "seed": 0}
    recipe |= {"train": train, "val": 1, "test": 1}
    return [sys.executable, ROOT / "src", "generate", "--dataset", json.dumps(recipe), "--out", out,
            "--workers", "2"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "said"), [("-f 50", "file too large"), ("-n 8", "too many open files")]
)
def test_a_generators_limits_are_one_line(tmp_path, limit, said):
    command = generate(tmp_path / "data", train=10_000)
    shell = f"ulimit {limit}; {shlex.join(map(str, command))}"
    done = subprocess.run(["/bin/bash", "-c", shell], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith(said)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_a_user_without_a_name_or_a_place_to_write_makes_data(tmp_path):
    """It may read all, and write into one folder alone; its workers run this checkout's code."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    others = tmp_path / "site/lra"
    others.mkdir(parents=True)
    (others / "__init__.py").write_text("raise SystemExit('not the code that was planned')")
    user = ["setpriv", "--reuid=12345", "--inh-caps=-all,+dac_read_search",
            "--ambient-caps=-all,+dac_read_search", "--bounding-set=-all,+dac_read_search"]  # fmt: skip
    command = generate(tmp_path / "data/made", train=100)
    env = {"PATH": os.environ["PATH"], "HOME": "/", "PYTHONPATH": str(others.parent)}
    done = subprocess.run([*user, *command], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/made/dataset.json").exists()


def test_folders_that_cannot_be_used_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check = partial(environment.check_folders, Path("/c"), Path("results"))
    check()
    Path("results").symlink_to("/nowhere/at all")
    with pytest.raises(LRAError, match="^results: a link to /nowhere/at all, which is not there$"):
        check()
    Path("results").unlink()
    Path("results").touch()
    with pytest.raises(LRAError, match="^results: is no folder"):
        check()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(LRAError, match=f"^{tmp_path}: cannot be written.*--snakefile /c/Snakefile"):
        check()


def test_a_stream_without_an_encoding_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    environment.do_without()
