"""The fork server: a command of it is a process like one of Python, in streams, signals and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lra.core import fork_server

SAYS = """
import json, os, sys
umask = os.umask(0)
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "umask": umask,
    "variable": os.environ.get("OURS"), "server": os.environ.get("SERVERS"),
    "modules": [name for name in sys.modules if name in ("lra", "colorsys")],
    "read": sys.stdin.readline(), "parents": os.getppid()}))
print("to stderr", file=sys.stderr)
sys.exit(7)
"""
WAITS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server():
    found = fork_server.start(["colorsys"], {**os.environ, "SERVERS": "1"})
    assert found
    return found


def script(folder: Path, code: str) -> Path:
    """A folder that Python runs, as src/ is one."""
    folder.mkdir()
    (folder / "__main__.py").write_text(code)
    return folder


def command(server: Path, *words: object) -> list[str]:
    return [sys.executable, "-IS", str(fork_server.CLIENT), *map(str, (server, *words))]


def waiting(server: Path, tmp_path: Path) -> tuple[subprocess.Popen, psutil.Process]:
    """A client, and the process that it waits for."""
    client = subprocess.Popen(
        command(server, script(tmp_path / "waits", WAITS)), text=True, stdout=-1, stderr=-1
    )
    return client, psutil.Process(int(client.stdout.readline()))


def until(holds) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_command_has_its_callers_streams_folder_environment_and_umask(server, tmp_path):
    os.umask(before := os.umask(0o027))
    asked = command(server, script(tmp_path / "says", SAYS), "--key", "a 'b' {c}")
    done = subprocess.run(
        asked, cwd=tmp_path, env={"OURS": "é"}, input="line\nnext", text=True, capture_output=True,
        preexec_fn=lambda: os.umask(0o027),
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said.pop("parents") != os.getpid()
    assert said == {
        "arguments": ["--key", "a 'b' {c}"], "folder": str(tmp_path), "umask": 0o027,
        "variable": "é", "server": None, "modules": ["colorsys"], "read": "line\n",
    }  # fmt: skip
    assert (done.stderr, done.returncode) == ("to stderr\n", 7)
    assert os.umask(before) == before


def test_signals_reach_it_and_its_end_is_the_clients(server, tmp_path):
    client, process = waiting(server, tmp_path)
    client.send_signal(signal.SIGTERM)
    assert client.communicate(timeout=20)[1] == "told to end\n" and client.returncode == 1
    assert not process.is_running()


def test_killed_it_ends_as_a_shell_says_it(server, tmp_path):
    client, process = waiting(server, tmp_path)
    process.kill()
    assert client.wait(20) == 128 + signal.SIGKILL


def test_it_does_not_outlive_a_client_that_is_killed(server, tmp_path):
    client, process = waiting(server, tmp_path)
    client.kill()
    until(lambda: not process.is_running())
    client.communicate()


def test_stopped_by_ctrl_z_it_stands_still_until_it_is_continued(server, tmp_path):
    client, process = waiting(server, tmp_path)
    client.send_signal(signal.SIGTSTP)
    until(lambda: process.status() == psutil.STATUS_STOPPED)
    until(lambda: psutil.Process(client.pid).status() == psutil.STATUS_STOPPED)
    client.send_signal(signal.SIGCONT)
    until(lambda: process.status() == psutil.STATUS_SLEEPING)
    client.send_signal(signal.SIGTERM)
    assert client.wait(20) == 1
    client.communicate()


def test_without_a_server_it_is_python(tmp_path):
    asked = command(tmp_path / "nothing", script(tmp_path / "says", SAYS))
    done = subprocess.run(asked, input="", text=True, capture_output=True)
    assert json.loads(done.stdout)["modules"] == [] and done.returncode == 7


def test_a_server_ends_with_the_process_that_started_it_and_leaves_nothing():
    code = (
        "import os, time; from lra.core import fork_server; "
        "print(fork_server.start([], os.environ), flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], text=True, stdout=-1)
    folder = Path(starter.stdout.readline().strip()).parent
    assert folder.is_dir()
    starter.kill()
    starter.communicate()
    until(lambda: not folder.exists())


def test_packages_that_are_missing_are_no_server(capfd):
    assert fork_server.start(["no_such_package"], os.environ) is None
    assert "no_such_package" in capfd.readouterr().err


def test_where_a_sockets_path_would_be_too_long_there_is_none(monkeypatch):
    monkeypatch.setattr(fork_server.tempfile, "gettempdir", lambda: "/" + 80 * "x")
    assert fork_server.start([], os.environ) is None


def test_no_package_of_it_is_ours_and_a_second_server_is_not_started(monkeypatch):
    assert not any(name.startswith("lra") for name in fork_server.PACKAGES)
    monkeypatch.setenv(fork_server.VARIABLE, "of the caller")
    monkeypatch.setattr(fork_server, "start", None)
    fork_server.share({})
