"""Everything that wants a card, in one command: `make gpu`; what fits into a time: `make gpu-plan`.

Steps run one after the other, the most valuable first (steps.py). Each writes its files and a record
to results/reference/<gpu>/ when it ends, and the page there is made again. A step that is done is
not repeated; one that has failed does not stop the others. At the end of the budget, and at Ctrl-C
or SIGTERM, the running step is told to stop: trainings save their state and go on next time.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pynvml
import steps as every
import typer
from gpu_page import csv_of, minutes, page
from steps import ROOT, WORK, Step

from lra.core.errors import SPEAKER, LRAError, ends_in_one_line
from lra.core.files import sigterm_unwinds, write_beside
from lra.core.formats import elapsed
from lra.core.git import git
from lra.core.locks import take
from lra.core.progress import say
from lra.hardware import gpu_lock

GRACE = 120.0  # seconds that a step has to save its state, and then Snakemake to end
PLANNED = {"10 min": 10, "30 min": 30, "60 min": 60, "a day": 24 * 60}


class Card(NamedTuple):
    uuid: str
    name: str
    driver: str | None


def card() -> Card:
    """The first GPU that CUDA would see. LRA_PRETEND_GPUS names one that is not there."""
    found = gpu_lock.devices()
    if not found:
        raise LRAError(
            "no GPU: NVIDIA's driver reports none, or CUDA_VISIBLE_DEVICES hides it; `make gpu-plan` "
            "needs none"
        )
    if os.environ.get("LRA_PRETEND_GPUS"):
        return Card(found[0], "pretended", None)
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(found[0])
    return Card(found[0], pynvml.nvmlDeviceGetName(handle), pynvml.nvmlSystemGetDriverVersion())


def folder_name(name: str) -> str:
    """NVIDIA H100 80GB HBM3 -> nvidia-h100-80gb-hbm3"""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


class Runner:
    """Does steps on one card and keeps their records in `out`."""

    def __init__(self, steps: list[Step], out: Path, card: Card, tiny: bool) -> None:
        self.steps, self.out, self.card, self.tiny = steps, out, card, tiny

    def record(self, step: Step) -> dict[str, Any] | None:
        path = self.out / f"steps/{step.name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def done(self, step: Step) -> bool:
        record = self.record(step)
        return record is not None and record["status"] == "ok"

    def run(self, budget: float) -> int:
        """The number of steps that have failed, in so many minutes."""
        end = time.monotonic() + 60 * budget
        failed = 0
        for step in self.steps:
            left = (end - time.monotonic()) / 60
            if self.done(step):
                say(f"{step.name}: done before")
            elif step.fit(left) == "none":
                say(f"{step.name}: {minutes(step.minutes)} min do not fit into {max(0, left):.1f}")
            else:
                failed += self.do(step, 60 * left) == "failed"
        say(f"{self.out / 'README.md'}: the page of what is done")
        return failed

    def do(self, step: Step, seconds: float) -> str:
        """Run a step for that long at most, save what it wrote, and return its status."""
        say(f"{step.name}: {step.what}; about {minutes(step.minutes)} min; {self.log(step)}")
        before, start = self.record(step), time.monotonic()
        status, reason = "cut", "stopped by a signal"
        try:
            status, reason = self.perform(step, seconds)
        finally:  # a signal unwinds through here
            took = time.monotonic() - start + (before["seconds"] if before else 0)
            if status != "cut":
                missing = self.save(step)
                if status == "ok" and missing:
                    status, reason = "failed", f"wrote no {missing}"
            self.write(step, status, reason, took)
            say(f"{step.name}: {status}{f': {reason}' if reason else ''} ({elapsed(took)})")
        return status

    def perform(self, step: Step, seconds: float) -> tuple[str, str | None]:
        """Status and reason."""
        log = self.log(step)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                step.command, env=self.environment(), stdout=file, stderr=file,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                return "cut", "the budget is spent"
            finally:
                stop(process)
        return ("ok", None) if code == 0 else ("failed", last_line(log) or f"exit status {code}")

    def environment(self) -> dict[str, str]:
        paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        ours = {"PYTHONPATH": os.pathsep.join(paths), "LRA_CARD": "cpu" if self.tiny else "cuda"}
        if not self.tiny:  # one card, of which all results are
            ours["CUDA_VISIBLE_DEVICES"] = self.card.uuid
        return {**os.environ, **ours}

    def log(self, step: Step) -> Path:
        return WORK / f"{step.name}.log"

    def save(self, step: Step) -> str | None:
        """Copy what the step wrote; return the name of the first file that is not there."""
        missing = None
        for name, source in step.saved.items():
            if not source.exists():
                missing = missing or str(source)
                continue
            content = csv_of(source) if source.suffix == ".xml" else source.read_bytes()
            write_beside(self.out / name, content)
        return missing

    def write(self, step: Step, status: str, reason: str | None, seconds: float) -> None:
        """The step's record, then the page."""
        record = {
            "step": step.name, "status": status, "reason": reason, "seconds": round(seconds, 1),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"), "estimated_minutes": step.minutes,
            "command": [part.replace(str(ROOT), ".") for part in step.command[1:]],
            "card": self.card.name, "driver": self.card.driver, "torch": version("torch"),
            "commit": commit(),
        }  # fmt: skip
        text = json.dumps(record, indent=1) + "\n"
        write_beside(self.out / f"steps/{step.name}.json", text.encode())
        records = {each.name: found for each in self.steps if (found := self.record(each))}
        text = page(self.steps, self.out, records, self.tiny)
        write_beside(self.out / "README.md", text.encode())


def stop(process: subprocess.Popen) -> None:
    """End a step and all its processes: first by SIGTERM, for which trainings save their state."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, signum)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def last_line(log: Path) -> str:
    """An error of lra's, or whatever was said last."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    lines = [line.strip() for line in lines if line.strip()][-200:]
    errors = [line.removeprefix(SPEAKER) for line in lines if line.startswith(SPEAKER)]
    return (errors or lines or [""])[-1]


def commit() -> str | None:
    with suppress(LRAError):
        return git(ROOT, "describe", "--always", "--dirty", "--exclude=*").strip()
    return None


def fitting(steps: list[Step], done: set[str], left: float) -> dict[str, str]:
    """What `Runner.run` would do of each step in so many minutes: all, part, none; or done."""
    found = {}
    for step in steps:
        found[step.name] = fit = "done" if step.name in done else step.fit(left)
        left -= {"all": step.minutes, "part": left}.get(fit, 0)
    return found


def plan(steps: list[Step], done: set[str]) -> str:
    """Which steps fit into 10, 30 and 60 minutes and a day."""
    words = {"all": "yes", "none": ""}
    fits = [fitting(steps, done, left) for left in PLANNED.values()]
    lines = [f"{'step':34}{'min':>8}  {'basis':10}{''.join(f'{title:8}' for title in PLANNED)}"]
    for step in steps:
        marks = "".join(f"{words.get(fit[step.name], fit[step.name]):8}" for fit in fits)
        lines.append(f"{step.name:34}{minutes(step.minutes):>8}  {step.basis:10}{marks}".rstrip())
    total = sum(step.minutes for step in steps if step.name not in done)
    lines += [
        "",
        f"{minutes(total / 60)} h in all, on an H100 by estimates and guesses. Nothing of",
    ]
    lines += [
        "this was measured on a card. part: it is cut when the time is over, and goes on later."
    ]
    return "\n".join(lines)


def main(
    budget: Annotated[float, typer.Option(help="minutes")] = 60,
    show: Annotated[bool, typer.Option("--plan", help="say what fits, run nothing")] = False,
    tiny: Annotated[bool, typer.Option(help="tiny sizes on the CPU, to try this program")] = False,
    out: Annotated[Path | None, typer.Option(help="default: results/reference/<gpu>")] = None,
) -> None:
    """Measure everything that wants a card; run it again to go on."""
    with ends_in_one_line():
        if tiny:
            os.environ.setdefault("LRA_PRETEND_GPUS", "pretended")
        steps = every.tiny() if tiny else every.full()
        found = Card("", "no card", None) if show and not gpu_lock.devices() else card()
        if found.name == "pretended" and not (tiny or show):
            raise LRAError("LRA_PRETEND_GPUS: a pretended card computes nothing; add --tiny")
        parent = Path("results/card" if tiny else "results/reference")
        runner = Runner(steps, out or parent / folder_name(found.name), found, tiny)
        if show:
            typer.echo(plan(steps, {step.name for step in steps if runner.done(step)}))
            return
        lock, taken = take(WORK / "run.lock")
        if not taken:
            raise LRAError(f"{WORK}: another `make gpu` is running here")
        with sigterm_unwinds():
            failed = runner.run(budget)
        lock.release()
        sys.exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)
