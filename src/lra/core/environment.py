"""The environment in which jobs run: variables that change what is computed or drawn, in one place.

Whatever else a user, a notebook, a git hook or a cluster's modules have set stays.
"""

from __future__ import annotations

import getpass
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import lra
from lra.core.errors import LRAError

SET = {
    "LC_ALL": "C",  # every machine has it; Python reads UTF-8 all the same
    "PYTHONUTF8": "1",
    "MPLBACKEND": "agg",  # a notebook's own cannot be imported in a job
    "MATPLOTLIBRC": os.devnull,
}
# Flags of the interpreter, of numba, of the libraries' kernels and number of threads; and git's
# variables, by which a hook's git looks at another repository.
UNSET = ("PYTHON", "NUMBA_", "GIT_", "ATEN_", "DNNL_", "ONEDNN_", "MKL_CBWR", "MKL_DYNAMIC",
         "OMP_DYNAMIC", "OMP_SCHEDULE", "OMP_THREAD_LIMIT", "OPENBLAS_CORETYPE",
         "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG",
         "CUDA_LAUNCH_BLOCKING")  # fmt: skip
# Where packages are found: a cluster's modules say so by PYTHONPATH, and the plan was made with
# them. Where caches lie. What git trusts.
KEPT = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONPYCACHEPREFIX",
        "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "NUMBA_CACHE_DIR",
        "GIT_CONFIG_")  # fmt: skip
CHECKOUT = "LRA_CHECKOUT"  # the folder whose code was planned with


def _unwanted(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that a job must not see."""
    return [name for name in environment if name.startswith(UNSET) and not name.startswith(KEPT)]


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment without what a job must not see, and with what it must."""
    without = {*_unwanted(environment)}
    return {name: value for name, value in environment.items() if name not in without} | SET


def clean() -> None:
    """Clean that of this process: for a verb that someone types, and before large imports."""
    wanted = cleaned(os.environ)
    os.environ.clear()
    os.environ.update(wanted)


def do_without() -> None:
    """Get along in this process without what it may lack: a user's name, a terminal in UTF-8."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # a container's user has a number alone
        os.environ["USER"] = str(os.getuid())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def with_a_cache() -> None:
    """Take .snakemake/cache where the user's own cannot be written: a container's may have no home.

    Snakemake writes to it before it reads the Snakefile, and would end with a traceback.
    """
    own = os.environ.get("XDG_CACHE_HOME", "").strip() or "~/.cache"
    folder = Path(os.path.expanduser(own), "snakemake")  # noqa: PTH111 -- Path's raises without a home
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        os.environ["XDG_CACHE_HOME"] = str(Path(".snakemake/cache").resolve())


def shell_lines(checkout: Path) -> str:
    """Bash that cleans the environment of a job, and names the checkout that was planned with.

    It looks for the variables itself: a cluster's node may have others than this process.
    """
    found = " ".join(f"${{!{prefix}*}}" for prefix in UNSET)
    kept = "|".join(f"{prefix}*" for prefix in KEPT)
    values = SET | {CHECKOUT: str(checkout)}
    return (
        f"for name in {found}; do case $name in {kept}) ;; *) unset $name;; esac; done; "
        f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in values.items())}; "
    )


def check_checkout(environment: Mapping[str, str] = os.environ) -> None:
    """Raise LRAError where this is not the code that the plan was made with."""
    runs, planned = Path(lra.__file__).resolve().parents[2], environment.get(CHECKOUT)
    if planned and Path(planned).resolve() != runs:
        raise LRAError(
            f"the plan was made with the code of {planned}, but the code of {runs} runs; "
            "see PYTHONPATH and the packages that are installed"
        )


def check_folders(checkout: Path, *results: Path) -> None:
    """Raise LRAError where no plan can be made in this folder, or results cannot lie in it."""
    own = Path(".snakemake") if Path(".snakemake").exists() else Path()
    if not os.access(own, os.W_OK):
        raise LRAError(
            f"{own.resolve()}: cannot be written, and snakemake keeps its notes there; elsewhere: "
            f"snakemake --snakefile {checkout / 'Snakefile'} --directory FOLDER"
        )
    for path in results:
        if path.is_symlink() and not path.exists():
            raise LRAError(f"{path}: a link to {path.readlink()}, which is not there")
        if path.exists() and not path.is_dir():
            raise LRAError(f"{path}: is no folder; results are written below it")
