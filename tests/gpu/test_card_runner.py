"""The runner of `make gpu`: what it begins, saves, repeats and cuts; whole, on a pretended card."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import run
import steps as every
from gpu_page import csv_of
from hypothesis import given
from hypothesis import strategies as st
from steps import Step

import warm
from lra.core.errors import LRAError
from lra.hardware import gpu_lock
from processes import environment, wait_for
from tiny import ROOT, examples

CARD = run.Card("pretended", "pretended", None)


def step(name: str, shell: str, minutes: float = 0.1, **rest) -> Step:
    return Step(name, f"what {name} is", minutes, ["sh", "-c", shell], **rest)


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """Makes one that works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *steps: run.Runner(list(steps), tmp_path / "out", CARD, tiny=True)


def test_what_is_done_is_kept_and_what_fails_is_tried_again_and_stops_nothing(runner, tmp_path):
    steps = [
        step("one", "echo x >> ran; echo 1 > made", saved={"kept.md": Path("made")}),
        step("two", "echo y >> ran; echo lra: broken; echo and more; exit 3"),
        step("three", "echo z >> ran"),
    ]
    assert runner(*steps).run(60) == 1
    assert (tmp_path / "out/kept.md").read_text() == "1\n"
    page = (tmp_path / "out/README.md").read_text()
    assert "| one | what one is | ok |" in page and "[kept.md](kept.md)" in page
    assert "- two: failed: broken" in page and "| three | what three is | ok |" in page
    assert "Not begun: none." in page and "No card was here" in page
    assert runner(*steps).run(60) == 1
    assert (tmp_path / "ran").read_text().split() == ["x", "y", "z", "y"]


def test_a_step_that_does_not_write_its_file_has_failed(runner):
    assert runner(step("one", "true", saved={"a.md": Path("missing")})).run(60) == 1


def test_the_page_is_there_after_each_step(runner):
    look = step("two", "grep -q '| one | what one is | ok |' out/README.md")
    assert runner(step("one", "true"), look).run(60) == 0


def test_at_the_end_of_the_budget_a_step_saves_its_state_and_goes_on_later(
    runner, tmp_path, monkeypatch
):
    monkeypatch.setattr(every, "SHORTEST", 0.0)
    saves = "trap 'echo state > saved; exit 1' TERM; while [ ! -e saved ]; do sleep 0.05; done"
    steps = [step("short", "true", minutes=5), step("long", saves, minutes=600, resumes=True)]
    assert runner(*steps).run(0.5 / 60) == 0
    assert not (tmp_path / "out/steps/short.json").exists()  # it does not fit, so it did not begin
    cut = json.loads((tmp_path / "out/steps/long.json").read_text())
    assert (cut["status"], cut["reason"]) == ("cut", "the budget is spent")
    assert (tmp_path / "saved").exists()
    assert runner(*steps).run(1e4) == 0
    whole = json.loads((tmp_path / "out/steps/long.json").read_text())
    assert whole["status"] == "ok" and whole["seconds"] >= cut["seconds"] >= 0.4


KILLED = """
import sys; sys.path[:0] = {paths}
from pathlib import Path
import run
from steps import Step
steps = [Step(n, n, 0.1, ["sh", "-c", s]) for n, s in (
    ("one", "echo x >> ran"), ("two", "echo y >> ran; touch begun; test -e go || sleep 60"),
)]
run.Runner(steps, Path("out"), run.Card("a", "pretended", None), True).run(60)
"""


def test_a_runner_that_is_killed_does_not_repeat_what_is_done(tmp_path):
    program = KILLED.format(paths=[str(ROOT / "tests/gpu"), str(ROOT / "src")])
    command = [sys.executable, "-c", program]
    first = subprocess.Popen(command, cwd=tmp_path)
    wait_for(tmp_path / "begun", first)
    child = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()[0]
    first.kill()
    first.wait()
    os.killpg(int(child), signal.SIGKILL)
    assert not (tmp_path / "out/steps/two.json").exists()
    (tmp_path / "go").touch()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "ran").read_text().split() == ["x", "y", "y"]
    assert json.loads((tmp_path / "out/steps/two.json").read_text())["status"] == "ok"


MINUTES = st.floats(100, 900) | st.just(float("inf"))


@examples(100)
@given(
    given_steps=st.lists(st.tuples(MINUTES, st.booleans()), min_size=3, max_size=12),
    left=st.floats(0, 1000),
)
def test_a_plan_begins_no_more_than_fits(given_steps, left):
    steps = [step(str(i), "", m, resumes=r) for i, (m, r) in enumerate(given_steps)]
    fits = run.fitting(steps, {"0"}, left)
    whole = sum(each.minutes for each in steps if fits[each.name] == "all")
    assert whole <= left + 1e-9
    assert list(fits.values()).count("part") <= 1
    assert all(fits[each.name] != "part" or each.resumes for each in steps)
    assert fits.get("0", "done") == "done"


def test_the_steps_are_all_mechanisms_tables_and_cells_of_the_issue():
    steps = every.full()
    names = [each.name for each in steps]
    assert names[:6] == ["numerics", "memory", "trainings", "attention", "table2", "data"]
    cells = {tuple(name.split("-", 2)) for name in names[6:]}
    protocols, tasks, models = ({cell[i] for cell in cells} for i in range(3))
    assert (protocols, tasks) == ({"official", "standard"}, {"listops", "pathfinder"})
    assert len(models) == 14 and len(cells) == len(names) - 6 == 56
    assert all(0 < each.minutes < float("inf") for each in steps), "run 'lra estimate'"
    for each in steps:
        files = [part for part in each.command if part.endswith((".py", ".yaml", "Snakefile"))]
        assert files and all(Path(file).exists() for file in files)
        assert all(name == Path(name).as_posix() for name in each.saved)


def test_the_plan_names_every_step_and_says_that_it_is_no_measurement():
    steps = every.full()
    text = run.plan(steps, {"numerics"})
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    assert lines["numerics"].split()[3:] == ["done"] * 4
    assert all(each.name in lines for each in steps)
    assert "Nothing of\nthis was measured on a card" in text


def test_what_pytest_measured_becomes_a_table(tmp_path):
    (tmp_path / "a.xml").write_text(
        '<testsuites><testsuite><testcase name="t[x]" time="0.5"><properties><property name="outputs"'
        ' value="1e-6"/></properties></testcase><testcase name="u" time="1"><failure/></testcase>'
        "</testsuite></testsuites>"
    )
    assert csv_of(tmp_path / "a.xml").decode().splitlines() == [
        "test,outcome,seconds,outputs", "t[x],passed,0.5,1e-6", "u,failure,1,",
    ]  # fmt: skip


def test_the_folder_is_named_after_the_card_that_the_driver_reports(tmp_path):
    program = f"import sys; sys.path.insert(0, '{ROOT}/tests/gpu'); import run; c = run.card(); print(c, run.folder_name(c.name))"
    path = f"{ROOT / 'tests/standins'}:{ROOT / 'src'}"
    hidden = {"LRA_PRETEND_GPUS", "CUDA_VISIBLE_DEVICES"}
    own = {key: value for key, value in os.environ.items() if key not in hidden}
    said = subprocess.check_output(
        [sys.executable, "-c", program], env=own | {"PYTHONPATH": path}, text=True
    )
    assert said.split()[-1] == "nvidia-stand-in" and "driver='999.1'" in said
    assert run.folder_name("NVIDIA H100 80GB HBM3") == "nvidia-h100-80gb-hbm3"


def test_without_a_card_one_line_says_so(monkeypatch):
    monkeypatch.delenv("LRA_PRETEND_GPUS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(LRAError, match="no GPU: .* `make gpu-plan` needs none"):
        run.card()


TINY = """
import sys; sys.path.insert(0, {gpu!r})
import steps; steps.PYTHON = {python!r}
from pathlib import Path
import run; run.main(budget=30, show=False, tiny=True, out=Path("out"))
"""


@pytest.mark.slow
def test_tiny_steps_on_a_pretended_card_killed_in_between(tmp_path):
    """Tests, benchmark, profile and cell for real. Everything is killed while the table is made."""
    name = f"test-{uuid.uuid4().hex}"
    own = environment() | {"LRA_PRETEND_GPUS": name}
    own.pop("CUDA_VISIBLE_DEVICES", None)
    program = TINY.format(gpu=str(ROOT / "tests/gpu"), python=warm.python())
    command = [sys.executable, "-c", program]
    first = subprocess.Popen(command, cwd=tmp_path, env=own, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "results/card/table2.log", first)
    time.sleep(1)
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(tmp_path):
                process.kill()
    first.communicate()
    before = {p.name: p.read_bytes() for p in (tmp_path / "out/steps").iterdir()}
    assert set(before) == {"numerics.json", "attention.json"}
    again = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True)
    logs = "".join(p.read_text()[-2000:] for p in (tmp_path / "results/card").glob("*.log"))
    assert again.returncode == 0, again.stderr + logs
    assert all(
        (tmp_path / "out/steps" / name).read_bytes() == kept for name, kept in before.items()
    )
    assert {"README.md", "numerics.csv", "attention_speed.md", "table2.md", "cells", "steps"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }
    page = (tmp_path / "out/README.md").read_text()
    assert re.search(r"\| card-tiny-listops-linear \| ok \| [\d.]+ \| 20 \|", page)
    assert "| numerics | one mechanism | ok (1 passed) |" in page
    for file in gpu_lock.lock_files(name):
        file.unlink()
