"""A checkout of its own with a tiny experiment, and snakemake in it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml
from filelock import FileLock

import warm
from processes import environment
from tiny import ROOT, SMALL_LISTOPS

TASKS, MODELS, SEEDS, LENGTHS = ["listops", "pathfinder"], ["linear", "local"], [1, 2], [32, 64]
DATASETS = {
    "listops-tiny": {
        "task": "listops", "source": "listops", "max_len": 64, "options": SMALL_LISTOPS,
        "train": 400, "val": 100, "test": 200, "licence": "test", "citation": "test",
    },
    "pathfinder-tiny": {
        "task": "pathfinder", "source": "pathfinder", "max_len": 256, "options": {"size": 16},
        "train": 200, "val": 50, "test": 100, "contact_sheet": True, "licence": "test",
        "citation": "test",
    },
}  # fmt: skip
ENCODER = {"dim": 16, "qkv_dim": 16, "heads": 2, "layers": 1, "mlp_dim": 16, "pooling": "MEAN",
           "dropout": 0.1}  # fmt: skip
PROTOCOL = {
    "title": "tiny",
    "defaults": {
        "encoder": ENCODER,
        "training": {
            "schedule": "cosine", "learning_rate": 1e-3, "warmup": 5, "checkpoint": "best",
            "steps": 20, "batch_size": 8, "eval_every": 10,
        },
    },
    "tasks": {task: {"dataset": f"{task}-tiny"} for task in TASKS},
}  # fmt: skip
EXPERIMENT = {
    "experiment": "tiny", "protocol": "tiny", "tasks": TASKS, "models": MODELS, "seeds": SEEDS,
    "device": "cpu", "threads": 1,
    "profile": {
        "task": "listops", "lengths": LENGTHS, "batch_size": 1, "seconds": 0.05, "encoder": ENCODER,
    },
}  # fmt: skip


def git(folder: Path, *arguments: str) -> str:
    """What git says in a folder, to somebody: a machine need not know who its user is."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


def commit_all(folder: Path) -> None:
    """Every file of a folder, which need not be a repository yet."""
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--no-verify", "--message", "all")


def sources() -> list[str]:
    """Names of this repository's files, those that git does not track yet included."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = listed.split("\0")[:-1]
    return [name for name in names if (ROOT / name).is_file() or (ROOT / name).is_symlink()]


KERNELS = [  # generators that numba compiles, with options for small examples
    ("listops", SMALL_LISTOPS), ("pathfinder", {"size": 16}),
    ("sudoku", {"box_rows": 2, "box_columns": 2, "blanks": [4]}),
]  # fmt: skip


@functools.cache
def compile_kernels() -> None:
    """Those of numba, in this repository, so that not every checkout has to: it takes longest.

    One process at a time: the others find what the first has compiled, which takes it half a minute.
    """
    from lra.data.generate import generate_dataset

    sizes = {"train": 1, "val": 1, "test": 1}
    lock = FileLock(Path(tempfile.gettempdir()) / f"lra-kernels-{os.getuid()}.lock")
    with lock, tempfile.TemporaryDirectory() as folder:
        for source, options in KERNELS:
            generate_dataset(source, options, sizes, 0, Path(folder, source))


class Checkout:
    """A copy of the repository's files in which snakemake runs the experiment `tiny`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in sources():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
        compile_kernels()
        for kernel in (ROOT / "src").rglob("*.nb[ic]"):
            (folder / kernel.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy2(kernel, folder / kernel.relative_to(ROOT))
        datasets = yaml.safe_load((folder / "config/datasets.yaml").read_text())
        self.write("config/datasets.yaml", yaml.safe_dump({**datasets, **DATASETS}))
        self.write("config/protocols/tiny.yaml", yaml.safe_dump(PROTOCOL))
        self.write("config/tiny.yaml", yaml.safe_dump(EXPERIMENT))

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def forget_tables(self) -> None:
        """So that a part of the experiment may have them."""
        for table in (self.folder / "results/tiny").glob("*.parquet"):
            table.unlink()

    def snakemake(
        self,
        *arguments: str,
        env: dict | None = None,
        python: str | None = None,
        folder: Path | None = None,
    ) -> subprocess.CompletedProcess:
        """The finished process; stdout holds both streams. It runs in the checkout, or `folder`."""
        command = [python or warm.python(), "-m", "snakemake", *arguments]
        environment = {**os.environ, "NO_COLOR": "1", **(env or {})}
        return subprocess.run(
            command, cwd=folder or self.folder, env=environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=3600,
        )  # fmt: skip

    def lra(
        self, *arguments: object, python: str | None = None, **changed: str
    ) -> subprocess.CompletedProcess:
        """`lra` of the checkout's own code; changed: variables of its environment. As `snakemake`."""
        command = [python or warm.python(), "-m", "lra.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=self.folder, env=environment(self.folder) | changed, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        done = self.snakemake("--configfile", "config/tiny.yaml", "--cores", "2", *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def plan(self, *arguments: str) -> set[str]:
        """The messages of all jobs that snakemake would run ("train listops/linear/seed1")."""
        return set(re.findall(r"^Job \d+: (.*)$", self.run("-n", *arguments), re.MULTILINE))
