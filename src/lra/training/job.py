"""The job around one training: its lock, its GPU, its saved state, and the files of the cell.

What is here changes no result, so the fingerprint of a training does not read it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save

from lra.config.cell import Cell, PretrainingCell, to_yaml
from lra.core.errors import SPEAKER, LRAError
from lra.core.files import one_line, sha256, write_beside
from lra.core.locks import alone
from lra.core.progress import say
from lra.data.manifest import verify
from lra.hardware.gpu_lock import held, sharers
from lra.hardware.gpu_meter import Meter
from lra.results import failure, fingerprint, layout
from lra.results.failure import Stopped
from lra.results.fingerprint import agreed
from lra.results.provenance import provenance
from lra.results.records import (
    CurveRow,
    GpuUse,
    TrainRecord,
    named,
    read_record,
    write_record,
    write_rows,
)
from lra.training import finished_cell
from lra.training.attempts import SIGKILLED, Attempt, shortage
from lra.training.checkpoint import Work
from lra.training.loop import Classification, Outcome, saved_outcome, train
from lra.training.pretraining import TokenPrediction
from lra.training.signals import TIME_IS_UP, stop_on_signals
from lra.training.tokens import OBJECTIVES


def train_cell(
    cell: Cell,
    data: Path,
    out: Path,
    work: Path,
    planned: str | None = None,
    save_seconds: float = 30.0,
    last_attempt: bool = False,
    pretrained: Path | None = None,
) -> None:
    """Train a cell, or do its pretraining, and write its files to `out`.

    data: folder of the data set. work: folder of the unfinished training; a run goes on from what
    it holds. planned: the code's fingerprint in the plan. last_attempt: Snakemake will not try
    again, so a cell that a time limit stops gets status timeout. pretrained: folder of the cell's
    pretraining, where it has one; its status and reason are the cell's where it is not ok.
    Raises LRAError naming the file or key where the job cannot be done, Stopped after a signal.
    """
    with failure.noted(work, cell.stage):
        if (pretrained is None) != (cell.pretraining is None):
            raise LRAError(f"{cell.name}: --pretrained goes with a cell that has a pretraining")
        found = agreed(planned, fingerprint.of_cell(cell.stage, cell))
        for split in ("train", "val"):
            verify(data / f"{split}.arrow")
        with one_line(out):
            out.mkdir(parents=True, exist_ok=True)
        start = pretrained and Start.read(pretrained)
        with alone(work, say):
            if finished_cell.take(cell, found, start and start.sha256, work, out):
                say(f"{cell.name}  was trained already; its files are taken")
                return
            _train(cell, found, start, data, out, work, save_seconds, last_attempt)


class Start(NamedTuple):
    """What a cell's training begins from."""

    checkpoint: Path
    sha256: str
    record: TrainRecord  # of the pretraining

    @property
    def fields(self) -> dict[str, Any]:
        """What the training's record says of it."""
        return {"pretrained": self.sha256, "pretrain_seconds": self.record.train_seconds}

    @classmethod
    def read(cls, folder: Path) -> Start:
        """Raises LRAError naming the file where one is missing or broken."""
        checkpoint = folder / layout.CHECKPOINT_FILE
        record = read_record(folder / layout.PRETRAIN_FILE, TrainRecord)
        with one_line(checkpoint):
            return cls(checkpoint, sha256(checkpoint), record)


def _train(
    cell: Cell,
    code: str,
    start: Start | None,
    data: Path,
    out: Path,
    work: Path,
    save_seconds: float,
    last_attempt: bool,
) -> None:
    digest = start and start.sha256
    unfinished = Work(work, _key(cell, code, digest), say)
    objective = _objective(cell)
    run = partial(train, objective=objective, start=start and start.checkpoint)

    def watch(history: list[dict[str, Any]]) -> None:
        write_rows(work / layout.HISTORY_FILE, history, CurveRow)

    # energy and load of a shared GPU are not this cell's
    share = sharers()
    with held(cell.device, say, share) as gpu, Meter(gpu if share == 1 else None) as meter:
        stop = stop_on_signals()  # not before: a signal ends a job that waits for a GPU
        attempt = Attempt.begin(cell, code, start.fields if start else {}, out, work)
        try:
            if start and start.record.status != "ok":
                status, reason = start.record.status, f"pretraining: {start.record.reason}"
                outcome = saved_outcome(objective(cell), None, status, reason)
            else:
                outcome = run(cell, data, unfinished, say, save_seconds, meter.joules, watch, stop)
            if outcome.status == "stopped":
                if stop.signal != TIME_IS_UP or not last_attempt:
                    raise Stopped(f"{cell.name}: {outcome.reason}; run again to go on")
                reason = f"{outcome.reason}, its time limit, in the last attempt"
                outcome = replace(outcome, status="timeout", reason=reason)
            use = meter.use()
            made_with = {
                **provenance(code, cell.device),
                **attempt.start,
                "energy_joules": outcome.joules,
                "gpu": use and GpuUse(**use),
            }
            _write(cell, outcome, made_with, out)
        finally:
            attempt.end(work)
    # the state of a cell that ran out of time is kept for a run with more time
    if outcome.status != "timeout":
        finished_cell.keep(cell, out, work)
        unfinished.remove()


def explain_kill(work: Path, code: int, last_attempt: bool = False) -> int:
    """Say why a training ended with exit status `code`, if SIGKILL ended it; the status to exit by.

    A killed process cannot say it itself. Where the kernel counted a kill for lack of memory in the
    cgroup since the training began, and no attempt is left, the cell gets status oom and the result
    is 0; else it is `code`.
    """
    attempt = Attempt.read(work)
    if code != SIGKILLED or attempt is None:
        return code
    kind = {each.stage: each for each in (Cell, PretrainingCell)}[attempt.stage]
    cell = kind.model_validate_json(attempt.cell)
    reason = shortage(attempt)
    if reason and last_attempt:
        key = _key(cell, attempt.fingerprint, attempt.start.get("pretrained"))
        outcome = saved_outcome(_objective(cell)(cell), Work(work, key, say).load(), "oom", reason)
        made_with = provenance(attempt.fingerprint, cell.device) | attempt.start
        _write(cell, outcome, made_with, Path(attempt.out))
        # for a scheduler that calls the whole job out of memory, whatever its exit status
        finished_cell.keep(cell, Path(attempt.out), work)
        attempt.end(work)
        return 0
    line = f"{cell.name}: {reason or 'killed, nothing says by whom'}; run again to go on"
    failure.note(work, cell.stage, line, resumes=True)
    say(SPEAKER + line)
    return code


def _objective(cell: Cell) -> type[Classification]:
    if isinstance(cell, PretrainingCell):
        return TokenPrediction
    return OBJECTIVES.get(cell.training.objective, Classification)


def _key(cell: Cell, code: str, pretrained: str | None) -> str:
    """What unfinished work belongs to."""
    return json.dumps([cell.model_dump(mode="json"), code, pretrained])


def _write(cell: Cell, outcome: Outcome, made_with: dict[str, Any], out: Path) -> None:
    """The files of a cell; its record is the last."""
    write_beside(out / layout.CONFIG_FILE, to_yaml(cell).encode())
    # one key only: safetensors writes several keys in an order that changes from run to run
    metadata = {"step": str(outcome.chosen_step)}
    write_beside(out / layout.CHECKPOINT_FILE, save(outcome.weights, metadata))
    write_rows(out / layout.HISTORY_FILE, outcome.history, CurveRow)
    record = TrainRecord(
        **named(cell),
        **made_with,
        status=outcome.status,
        reason=outcome.reason,
        params=outcome.params,
        reach=outcome.reach,
        steps=outcome.steps,
        chosen_step=outcome.chosen_step,
        train_seconds=outcome.seconds,
        val_accuracy=outcome.val_accuracy,
    )
    write_record(out / layout.RECORD_FILES[cell.stage], record)
    if outcome.status != "ok":
        say(f"{cell.name}  status {outcome.status}: {outcome.reason}")
