"""Verbs that train, score and measure models."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lra.cell import Cell, ProfilePoint, read, to_yaml
from lra.errors import LRAError, one_of
from lra.verbs import Out, Planned, say

app = typer.Typer()
CellText = Annotated[str, typer.Option("--cell", help="a config.yaml, or its JSON")]
Share = Annotated[
    int, typer.Option(envvar="LRA_GPU_SHARE", help="jobs that may use one GPU at once")
]
LastAttempt = Annotated[
    bool, typer.Option(envvar="LRA_LAST_ATTEMPT", help="snakemake will not try again")
]
PointText = Annotated[str, typer.Option("--point", help="a profile point as YAML file or JSON")]


@app.command()
def train(
    cell: CellText,
    data: Annotated[Path, typer.Option(help="folder of the data set")],
    out: Out,
    work: Annotated[Path, typer.Option(help="folder of unfinished work, removed at the end")],
    fingerprint: Planned = None,
    save_seconds: Annotated[
        float, typer.Option(envvar="LRA_SAVE_SECONDS", help="longest work that a kill can lose")
    ] = 30.0,
    last_attempt: LastAttempt = False,
    gpu_share: Share = 1,
) -> None:
    """Train one cell: config.yaml, checkpoint.safetensors, history.parquet, train.json.

    Run again after a kill, it goes on from the last saved step and ends with the same bits.
    SIGTERM, SIGINT and SIGUSR1 make it save its state and end with an error. SIGUSR1 is a
    scheduler's warning of the time limit: in the last attempt the cell gets status timeout.
    """
    from lra import fingerprint as code
    from lra import finished
    from lra.data.manifest import verify
    from lra.locks import alone
    from lra.provenance import agreed

    resolved = read(Cell, cell)
    found = agreed(fingerprint, code.stage("train", resolved.encoder.attention))
    for split in ("train", "val"):
        verify(data / f"{split}.arrow")
    with alone(work, say):
        if finished.take(resolved, found, work, out):
            say(f"{resolved.name}  was trained already; its files are taken")
            return
        _train(resolved, found, data, out, work, save_seconds, last_attempt, gpu_share)


def _train(
    cell: Cell,
    fingerprint: str,
    data: Path,
    out: Path,
    work: Path,
    save_seconds: float,
    last_attempt: bool,
    gpu_share: int,
) -> None:
    from lra import finished
    from lra.attempts import Attempt
    from lra.gpu import held
    from lra.meter import Meter
    from lra.provenance import provenance
    from lra.records import CurveRow, GpuUse, write_rows
    from lra.resume import Work
    from lra.stop import TIME_IS_UP, stop_on_signals
    from lra.train import train as run

    unfinished = Work(work, _key(cell, fingerprint), say)

    def watch(history: list[dict[str, Any]]) -> None:
        write_rows(work / "history.parquet", history, CurveRow)

    with held(cell.device, gpu_share, say) as gpu, Meter(gpu, gpu_share > 1) as meter:
        stop = stop_on_signals()  # not before: a signal ends a job that waits for a GPU
        attempt = Attempt.begin(cell, fingerprint, out, work)
        try:
            outcome = run(cell, data, unfinished, say, save_seconds, meter.joules, watch, stop)
            if outcome.status == "stopped":
                if stop.signal != TIME_IS_UP or not last_attempt:
                    raise LRAError(f"{cell.name}: {outcome.reason}; run again to go on")
                reason = f"{outcome.reason}, its time limit, in the last attempt"
                outcome = replace(outcome, status="timeout", reason=reason)
            use = meter.use()
            made_with = {
                **provenance(fingerprint, cell.device),
                "energy_joules": outcome.joules,
                "gpu": use and GpuUse(**use),
            }
            _write_cell(cell, outcome, made_with, out)
        finally:
            attempt.end(work)
    # what a cell without enough time has done is kept for one with more
    if outcome.status != "timeout":
        finished.keep(out, work)
        unfinished.remove()


def _key(cell: Cell, fingerprint: str) -> str:
    """What unfinished work belongs to."""
    return json.dumps([cell.model_dump(mode="json"), fingerprint])


def _write_cell(cell: Cell, outcome: Any, made_with: dict[str, Any], out: Path) -> None:
    """The files of a cell from an `lra.train.Outcome`; train.json is the last."""
    from safetensors.torch import save

    from lra.files import write_beside
    from lra.records import CurveRow, TrainRecord, write_record, write_rows

    write_beside(out / "config.yaml", to_yaml(cell).encode())
    # one key only: safetensors writes several in an order that changes from run to run
    facts = {"step": str(outcome.chosen_step)}
    write_beside(out / "checkpoint.safetensors", save(outcome.weights, facts))
    write_rows(out / "history.parquet", outcome.history, CurveRow)
    record = TrainRecord(
        **made_with,
        status=outcome.status,
        reason=outcome.reason,
        params=outcome.params,
        steps=outcome.steps,
        chosen_step=outcome.chosen_step,
        train_seconds=outcome.seconds,
        val_accuracy=outcome.val_accuracy,
    )
    write_record(out / "train.json", record)
    if outcome.status != "ok":
        say(f"{cell.name}  status {outcome.status}: {outcome.reason}")


@app.command()
def killed(
    work: Annotated[Path, typer.Argument(help="folder of unfinished work")],
    code: Annotated[int, typer.Argument(help="exit status of `lra train`; ours is the same")],
    last_attempt: LastAttempt = False,
) -> None:
    """Say why a training ended by SIGKILL, which it cannot say itself.

    Where the kernel has counted a kill for lack of memory in the cgroup since the training began,
    and no attempt is left, the cell gets status oom and the exit status is 0.
    """
    from lra import finished
    from lra.attempts import SIGKILLED, Attempt, shortage

    attempt = Attempt.read(work)
    if code != SIGKILLED or attempt is None:
        raise typer.Exit(code)
    cell = read(Cell, attempt.cell)
    reason = shortage(attempt)
    if reason and last_attempt:
        from lra.provenance import provenance
        from lra.resume import Work
        from lra.train import saved_outcome

        state = Work(work, _key(cell, attempt.fingerprint), say).load()
        outcome = saved_outcome(cell, state, "oom", reason)
        made_with = provenance(attempt.fingerprint, cell.device)
        _write_cell(cell, outcome, made_with, Path(attempt.out))
        # for a scheduler that calls the whole job out of memory, whatever its exit status
        finished.keep(Path(attempt.out), work)
        attempt.end(work)
        return
    say(f"lra: {cell.name}: {reason or 'killed, nothing says by whom'}; run again to go on")
    raise typer.Exit(code)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Option("--cell", help="folder of a trained cell")],
    data: Annotated[Path, typer.Option(help="folder of the data set")],
    fingerprint: Planned = None,
    gpu_share: Share = 1,
) -> None:
    """Score a trained cell on the test split: score.json, predictions.parquet."""
    from lra import fingerprint as code
    from lra.data.manifest import verify
    from lra.evaluate import evaluate as score
    from lra.evaluate import facts
    from lra.gpu import held
    from lra.provenance import agreed, provenance
    from lra.records import (
        PredictionRow,
        ScoreRecord,
        TrainRecord,
        read_record,
        write_record,
        write_rows,
    )

    cell = read(Cell, str(folder / "config.yaml"))
    found = agreed(fingerprint, code.stage("evaluate", cell.encoder.attention))
    trained = read_record(folder / "train.json", TrainRecord)
    test = data / "test.arrow"
    verify(test)
    about = facts(test)
    result: dict[str, Any] = {"accuracy": None, "loss": None}
    rows: list[dict[str, int]] = []
    ok = trained.status == "ok"
    with held(cell.device, gpu_share, say):
        made_with = provenance(found, cell.device)
        scored = score(cell, folder / "checkpoint.safetensors", test) if ok else None
    if scored:
        result = {"accuracy": scored.accuracy, "loss": scored.loss}
        pairs = zip(scored.labels.tolist(), scored.predictions.tolist(), strict=True)
        rows = [{"label": label, "prediction": prediction} for label, prediction in pairs]
        majority = f"(majority class {about['chance']:.2f} %)"
        say(f"{cell.name}  test accuracy {scored.accuracy:.2f} % {majority}")
    write_rows(folder / "predictions.parquet", rows, PredictionRow)
    record = ScoreRecord(
        **made_with,
        status=trained.status,
        reason=trained.reason,
        **about,
        **result,
    )
    write_record(folder / "score.json", record)


@app.command()
def span(
    folder: Annotated[Path, typer.Option("--cell", help="folder of a trained cell")],
    data: Annotated[Path, typer.Option(help="folder of the data set")],
    out: Out,
    method: Annotated[
        list[str] | None, typer.Option(help="attention or gradient; default: all there are")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="validation examples")] = 1000,
    queries: Annotated[int, typer.Option(min=1, help="of an example, for gradient")] = 16,
    fingerprint: Planned = None,
    gpu_share: Share = 1,
) -> None:
    """Measure the required attention span of a trained cell on the validation split."""
    from lra import fingerprint as code
    from lra import span as measure
    from lra.data.manifest import verify
    from lra.gpu import held
    from lra.provenance import agreed, provenance
    from lra.records import SpanMeasure, SpanRecord, TrainRecord, read_record, write_record

    cell = read(Cell, str(folder / "config.yaml"))
    mechanism = cell.encoder.attention
    found = agreed(fingerprint, code.stage("span", mechanism))
    trained = read_record(folder / "train.json", TrainRecord)
    checkpoint, val = folder / "checkpoint.safetensors", data / "val.arrow"
    verify(val)
    rows, reasons = [], [trained.reason]
    asked = method or measure.methods(mechanism)
    for name in asked:
        one_of("--method", name, measure.methods(mechanism))
    with held(cell.device, gpu_share, say):
        made_with = provenance(found, cell.device)
        for name in asked:
            if trained.status == "ok":
                spans, reason = measure.span(cell, checkpoint, val, samples, name, queries)
            else:
                spans, reason = measure.unmeasured(cell, val, samples, name, trained.status), None
            rows += spans
            reasons.append(reason)
            mean = spans[-1]
            figure = f"{mean.span:.1f} tokens" if mean.status == "ok" else mean.status
            say(f"{cell.name}  span by {name} {figure} (uniform attention {mean.uniform:.1f})")
    record = SpanRecord(
        **made_with,
        reason=next((reason for reason in reasons if reason), None),
        measures=[SpanMeasure(**asdict(row)) for row in rows],
    )
    write_record(out, record)


@app.command()
def profile(
    what: Annotated[str, typer.Argument(help="speed or memory")],
    point: PointText,
    out: Out,
    fingerprint: Planned = None,
) -> None:
    """Measure the speed or the memory of one model at one length, alone on its GPU."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler announces itself

    from lra import fingerprint as code
    from lra import profile as measure
    from lra.gpu import held
    from lra.meter import Meter
    from lra.provenance import agreed, provenance
    from lra.records import GpuUse, MemoryRecord, SpeedRecord, write_record

    kinds = {"speed": (measure.speed, SpeedRecord), "memory": (measure.memory, MemoryRecord)}
    run, kind = kinds[one_of("lra profile", what, kinds)]
    resolved = read(ProfilePoint, point)
    found = agreed(fingerprint, code.stage("profile", resolved.encoder.attention))
    with held(resolved.device, 1, say) as gpu, Meter(gpu) as meter:
        made_with = provenance(found, resolved.device)
        energy = {"joules": meter.joules} if what == "speed" else {}
        measured = asdict(run(resolved, **energy))
        use = meter.use()
    measured["gpu"] = use and GpuUse(**use)
    known = {key: value for key, value in measured.items() if key in kind.model_fields}
    keys = ("model", "length", "batch_size", "threads", "precision")
    asked = {key: getattr(resolved, key) for key in keys}
    record = kind(**made_with, **asked, **known)
    write_record(out, record)
    if record.status != "ok":
        say(f"{resolved.model} at {resolved.length} tokens: {record.status}: {record.reason}")
