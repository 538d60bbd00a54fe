"""A child has what its parent has imported, and its end is known."""

from __future__ import annotations

import os
import signal

from lra.core.child import run_in_child
from lra.core.errors import LRAError


def test_its_work_is_done_and_an_error_is_one_line(tmp_path, capfd):
    def fails(reason):
        raise LRAError(reason)

    assert run_in_child((tmp_path / "made").touch) == 0
    assert (tmp_path / "made").exists()
    assert run_in_child(fails, "out of paper") == 1
    assert capfd.readouterr().err == "lra: out of paper\n"


def test_a_signal_that_ends_it_is_told():
    assert run_in_child(lambda: os.kill(os.getpid(), signal.SIGKILL)) == -signal.SIGKILL
