"""What ends a command is one line for people; a fault of ours shows where it is, too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lra.cli import __main__ as cli
from lra.cli import app as verbs
from lra.core.errors import LRAError, in_one_line
from tiny import ROOT


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LRAError("config.yaml: seeds: must be numbers"), "config.yaml: seeds: must be numbers"),
        (OSError(28, "No space left on device", "out/a"), "out/a: no space left on device"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
        (OSError("no number"), "no number"),
        (MemoryError(), "out of memory"),
        (RuntimeError("can't start new thread"), "no further thread can be started"),
        (KeyError("x"), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_people_are_told(error, line):
    told = in_one_line(error)
    assert told == line or told.startswith(f"{line}: a limit of this machine")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), TypeError("x is None")])
def test_a_command_ends_with_a_line_and_a_fault_of_ours_with_its_place(monkeypatch, capsys, error):
    def app(**_):
        raise error

    monkeypatch.setattr(verbs, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    if isinstance(error, OSError):
        assert said == ["lra: too many open files"]
    else:
        assert said[0].startswith("Traceback") and "raise error" in "".join(said)
        assert said[-1].startswith("lra: TypeError: x is None (a fault of lra")


WRONG = {
    "depends train liner": "lra depends: 'liner' is unknown; did you mean 'linear'?",
    "collect scores --root . --out x --models a --tasks a --seeds 1,b": "--seeds: 'b' is no number",
    "collect speed --root . --out x --models a --lengths 1e3": "--lengths: '1e3' is no number",
    "collect scores --root . --out x --models a": "--tasks: is empty, so there is nothing of scores",
    "collect speed --root . --out x --models= --lengths 1": "--models: is empty, so there is nothing of speed",
    "archive t --experiment {} --out x": "command line: experiment: is missing",
    "archive t --experiment { --out x": "command line: not YAML: ",
    "tables accuracy --root none --stem x": "none/scores.parquet: no such file",
}


@pytest.fixture
def ended(monkeypatch, capsys):
    """The exit status and the one line of a command that is refused."""

    def run(typed: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lra", *typed.split()])
        with pytest.raises(SystemExit) as found:
            cli.main()
        (line,) = capsys.readouterr().err.splitlines()
        return found.value.code, line

    return run


@pytest.mark.parametrize("typed", WRONG)
def test_a_wrong_argument_is_one_line(ended, typed):
    status, line = ended(typed)
    assert status == 1
    assert line.startswith(f"lra: {WRONG[typed]}")


USAGE = {
    "nosuch": "lra: lra: No such command 'nosuch'; see lra --help",
    "summary a b": "lra: lra summary: Got unexpected extra argument(s) (b); see",
    "span --samples 0": "lra: lra span: Invalid value for '--samples': Input should be greater",
    "train": "lra: lra train: Missing option '--cell'; see lra train --help",
    "resolve a b --seed x": "lra: lra resolve: Invalid value for '--seed': Input should be a valid",
    "tables x --rot y": "lra: lra tables: No such option: --rot (Possible options: --root); see",
}  # fmt: skip


@pytest.mark.parametrize("typed", USAGE)
def test_a_verb_or_option_that_there_is_not_is_one_line(ended, typed):
    status, line = ended(typed)
    assert status == 2
    assert line.startswith(USAGE[typed])


@pytest.mark.parametrize("module", ["typer", "lra.planning.status"], ids=["start", "verb"])
def test_ctrl_c_is_one_line_also_while_packages_are_imported(tmp_path, module):
    """It comes when a module is imported, which does not depend on the machine's speed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"}
    done = subprocess.run(
        [sys.executable, "-m", "lra.cli", "status"], cwd=ROOT, env=environment, text=True,
        capture_output=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "lra: stopped by Ctrl-C\n")
