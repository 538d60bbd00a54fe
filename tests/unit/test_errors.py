"""What ends a command is one line for people; a fault of ours shows where it is, too."""

from __future__ import annotations

import pytest

from lra.cli import __main__ as cli
from lra.core.errors import LRAError, in_one_line


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

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    if isinstance(error, OSError):
        assert said == ["lra: too many open files"]
    else:
        assert said[0].startswith("Traceback") and "raise error" in "".join(said)
        assert said[-1].startswith("lra: TypeError: x is None (a fault of lra")
