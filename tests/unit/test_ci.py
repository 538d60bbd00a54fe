"""CI stops where it cannot have what the tests want, in place of skipping them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tiny import ROOT

ALWAYS = ("bash", "dirname", "ls")
LOG = 'echo "$(basename "$0") $*" >> "{log}"; '


@pytest.fixture
def ci(tmp_path):
    """Runs .ci/run with stand-ins (name -> script) for everything; returns status, output, calls."""
    log, programs = tmp_path / "log", tmp_path / "bin"
    programs.mkdir()
    for name in (*ALWAYS, "basename"):
        (programs / name).symlink_to(shutil.which(name))

    def run(**scripts: str):
        for name, script in ({"make": "", "git": ""} | scripts).items():
            path = programs / name.replace("_", "-")
            path.write_text(f"#!{shutil.which('bash')}\n{LOG.format(log=log)}{script}\n")
            path.chmod(0o755)
        command = [shutil.which("bash"), ROOT / ".ci/run"]
        environment = {"PATH": str(programs)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, log.read_text() if log.exists() else ""

    return run


def test_a_package_that_cannot_be_installed_ends_it(ci):
    status, _, calls = ci(apt_get="exit 100")
    assert status == 100 and "make" not in calls


def test_a_package_without_the_program_ends_it(ci):
    status, said, calls = ci(apt_get="exit 0")
    assert status == 1 and "slurmctld is not in slurm-wlm munge" in said
    assert "make" not in calls


def test_without_apt_get_it_says_what_is_skipped_and_goes_on(ci):
    status, said, calls = ci()
    assert status == 0 and calls.startswith("make test-all\nmake ARGS=results/part/")
    for name in ("slurmctld", "chromium", "chromedriver"):
        assert f"no {name} and no apt-get: tests are skipped" in said
