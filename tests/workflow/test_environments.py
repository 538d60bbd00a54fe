"""Odd environments, one a row: what is asked works, or ends in one line."""

from __future__ import annotations

import os
import shutil
import string
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from checkout import Checkout
from tiny import ROOT, slow, tmpfs

EVERY_CHARACTER = "".join(c for c in string.printable if c.isprintable() and c not in "/{}")
DATA, FIGURE = "results/data/listops-tiny/dataset.json", "results/tiny/figures/speed"
DRAWN = [f"{FIGURE}.{ending}" for ending in ("svg", "png", "pdf")]
TABLE = "results/tiny/tables/efficiency.md"
SMALL = [
    "--config",
    "generate_workers=2",
    "models=[linear]",
    "tasks=[listops]",
    "profile={lengths: [32]}",
]
MATPLOTLIB = "text.usetex: True\nfont.size: 30\nfigure.facecolor: red\nsvg.fonttype: path\n"


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Checkout:
    """A checkout in which nothing was run; tests leave it as it is."""
    return Checkout(tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="module")
def elsewhere(bare, tmp_path_factory) -> Path:
    """A folder in which that checkout's workflow made a data set, a figure and a table.

    The cores are those of a profile of the user's own.
    """
    folder = tmp_path_factory.mktemp("else where")
    (folder / "mine").mkdir()
    (folder / "mine/config.yaml").write_text("cores: 1\n")
    done = bare.snakemake(
        DATA, DRAWN[1], TABLE, "--snakefile", str(bare.folder / "Snakefile"), "--directory", ".",
        "--profile", "mine", "--configfile", str(bare.folder / "config/tiny.yaml"), *SMALL,
        folder=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "Provided cores: 1 " in done.stdout
    return folder


def one_line(text: str) -> str:
    """What lra said, and nothing of Python's."""
    assert "Traceback" not in text, text
    (line,) = [line for line in text.splitlines() if line.startswith("lra: ")]
    return line


def plan(checkout: Checkout, *arguments: str, env: dict | None = None, python=None):
    arguments = arguments or (TABLE, "-n")
    return checkout.snakemake(
        *arguments, "--configfile", "config/tiny.yaml", env=env, python=python
    )


ENVIRONMENTS = {  # what a process inherits
    "no home": {"HOME": "/dev/null/home"},
    "a notebook": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "a git hook": {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere"},
    "another checkout's code": {"PYTHONPATH": "/elsewhere/src"},
    "no TMPDIR": {"TMPDIR": "/nowhere"},
    "a home that is no folder": {"HOME": "/dev/null"},
    "a cache that is no folder": {"XDG_CACHE_HOME": "/dev/null"},
    "no cache of numba": {"NUMBA_CACHE_DIR": "/dev/null"},
}  # fmt: skip


@pytest.mark.parametrize("name", [*[*ENVIRONMENTS][:4], *slow([*ENVIRONMENTS][4:])])
def test_a_plan_is_made_in_any_environment(bare, name):
    done = plan(bare, env=ENVIRONMENTS[name])
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    assert "lra: " not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_a_driver_that_fails_is_one_line_and_none_of_a_cpu(bare, device):
    env = {"PYTHONPATH": str(ROOT / "tests/standins"), "LRA_STANDIN_NVML": "nvmlDeviceGetCount"}
    done = plan(bare, TABLE, "-n", "--config", f"device={device}", env=env, python=sys.executable)
    assert done.returncode == 0, done.stdout
    if device == "cpu":
        assert "lra: " not in done.stdout
    else:
        said = "lra: NVIDIA's driver fails (Not Supported), so its GPUs are not counted"
        assert one_line(done.stdout) == said


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONOPTIMIZE": "2"},
     {"LC_ALL": "xx_YY", "PYTHONSAFEPATH": "1", "HOME": ""},
     {"PYTHONIOENCODING": "latin-1", "PYTHONHASHSEED": "0", "TERM": "", "COLUMNS": "x",
      "NUMBA_DISABLE_JIT": "1"}],
    ids=str,
)  # fmt: skip
def test_a_plan_is_made_by_any_interpreter(bare, env):
    done = plan(bare, env=env, python=sys.executable)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_jobs_give_the_same_bytes_at_any_path_in_any_environment(bare, elsewhere, tmp_path):
    """All odd things at once, by a Python of its own: it reads them at its start."""
    odd = Checkout.__new__(Checkout)
    odd.folder = tmp_path / EVERY_CHARACTER
    shutil.copytree(bare.folder, odd.folder, symlinks=True)
    for name in ("results", ".snakemake"):
        shutil.copytree(elsewhere / name, odd.folder / name, dirs_exist_ok=True)
    before = {name: (odd.folder / name).read_bytes() for name in [*DRAWN, DATA]}
    own = tmp_path / "own"
    for package in ("site/lra", "matplotlib"):
        (own / package).mkdir(parents=True)
    (own / "site/lra/__init__.py").write_text("raise SystemExit('not the code that was planned')")
    (own / "matplotlib/matplotlibrc").write_text(MATPLOTLIB)
    for name in before:
        (odd.folder / name).unlink()
    hostile = {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline", "XDG_CONFIG_HOME": str(own),
        "MPLCONFIGDIR": str(own / "matplotlib"), "PYTHONPATH": str(own / "site"),
        "PYTHONOPTIMIZE": "2", "PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONIOENCODING": "latin-1",
        "NUMBA_DISABLE_JIT": "1", "GIT_DIR": "/nowhere",
    }  # fmt: skip
    done = odd.snakemake(
        DATA, DRAWN[1], "--rerun-triggers", "mtime", "--cores", "2", "--configfile",
        "config/tiny.yaml", *SMALL, env=hostile, python=sys.executable,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    made = {name: (odd.folder / name).read_bytes() for name in before}
    assert [name for name in DRAWN if made[name] != before[name]] == []
    assert made[DATA] == before[DATA]


@pytest.mark.parametrize("character", "{}")
def test_braces_in_the_path_are_one_line(bare, tmp_path, character):
    (tmp_path / f"a{character}b").symlink_to(bare.folder)
    snakefile = tmp_path / f"a{character}b/Snakefile"
    done = plan(bare, TABLE, "-n", "--snakefile", str(snakefile))
    assert done.returncode == 1
    assert "braces" in one_line(done.stdout)


@pytest.mark.slow
def test_elsewhere_an_archive_is_one_line_and_pages_are_planned(bare, elsewhere):
    there = ["--snakefile", str(bare.folder / "Snakefile"), "--configfile",
             str(bare.folder / "config/tiny.yaml"), "-n"]  # fmt: skip
    done = bare.snakemake("results/tiny/page.html", "results/tiny/report.html", *there,
                          folder=elsewhere)  # fmt: skip
    assert done.returncode == 0, done.stdout
    done = bare.snakemake("archive", *there, folder=elsewhere)
    assert done.returncode == 1
    assert f"run snakemake in {bare.folder}" in one_line(done.stdout)


def test_a_results_link_to_nothing_is_one_line(bare, tmp_path):
    (tmp_path / "results").symlink_to("/nowhere/at all")
    done = bare.snakemake(
        "-n", "--snakefile", str(bare.folder / "Snakefile"), folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert one_line(done.stdout) == ("lra: results: a link to /nowhere/at all, which is not there")


def test_cores_are_the_users_to_say(bare):
    settings = yaml.safe_load((ROOT / "profiles/default/config.yaml").read_text())
    own = {name for name in settings if not name.startswith("__")}  # these check what was typed
    assert own == {"scheduler", "keep-going", "rerun-incomplete", "nolock"}
    done = plan(bare, DATA)
    assert done.returncode != 0
    assert "cores have to be specified" in done.stdout
    assert "Traceback" not in done.stdout


def generate(checkout: Checkout, folder: Path, python: str | None = None):
    return checkout.snakemake(
        DATA, "--cores", "1", "--snakefile", str(checkout.folder / "Snakefile"), "--configfile",
        str(checkout.folder / "config/tiny.yaml"), folder=folder, python=python,
    )  # fmt: skip


def test_full_results_are_one_line(bare, tmp_path):
    with tmpfs(tmp_path / "small", "size=32k") as results:
        (tmp_path / "run").mkdir()
        (tmp_path / "run/results").symlink_to(results)
        done = generate(bare, tmp_path / "run")
    assert done.returncode == 1
    assert "no space left on device" in one_line(done.stdout).lower()


@pytest.mark.slow
@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_any_umask(bare, tmp_path, umask):
    before = os.umask(umask)
    try:
        done = generate(bare, tmp_path)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stdout
    with suppress(FileNotFoundError):
        assert (tmp_path / DATA).stat().st_mode & 0o777 == 0o666 & ~umask
