"""The jobs around a score, a span, baselines and a profile point: GPU, provenance, record.

What is here changes no result, so no fingerprint reads it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from lra.config.cell import Cell, ProfilePoint, profile_row, read
from lra.config.decode import DecodePoint
from lra.core.child import run_in_child
from lra.core.errors import LRAError, one_of
from lra.core.formats import BYTES, listed, number
from lra.core.progress import say
from lra.data.manifest import verify
from lra.data.sources import OF_TOKENS, module_of
from lra.data.split import SPLITS, read_split
from lra.hardware.gpu_lock import held, sharers
from lra.hardware.gpu_meter import Meter
from lra.results import failure, fingerprint, layout
from lra.results.baselines import BaselineRecord, Measure, TaskName
from lra.results.fingerprint import agreed
from lra.results.generations import Generated, GenerationRecord
from lra.results.points import DECODE_KINDS, KINDS, POINT_KINDS, PointRecord
from lra.results.provenance import provenance
from lra.results.records import (
    GpuUse,
    Part,
    PredictionRow,
    ScoreRecord,
    SpanMeasure,
    SpanRecord,
    TrainRecord,
    in_bits,
    named,
    read_record,
    write_record,
    write_rows,
)

UNITS = {
    "speed": ("training steps/s", 1.0),
    "memory": ("MB", BYTES["MB"]),
    "decode": ("tokens/s decoded", 1.0),
    "directions": ("times the step in both directions", 1.0),
}


def score_cell(folder: Path, data: Path, work: Path, planned: str | None = None) -> None:
    """Score a trained cell on the test split: score.json and predictions.parquet in its folder.

    data: folder of the data set. work: of the cell's unfinished training, beside which a failure is
    recorded. planned: the code's fingerprint in the plan. Raises LRAError naming the file.
    """
    from lra.evaluation import accuracy, tokens

    with failure.noted(work, "evaluate"):
        cell = read(Cell, str(folder / layout.CONFIG_FILE))
        found = agreed(planned, fingerprint.of_cell("evaluate", cell))
        trained = read_record(folder / layout.TRAIN_FILE, TrainRecord)
        test = data / "test.arrow"
        verify(test)
        scoring = tokens if cell.predicts_tokens else accuracy
        examples = scoring.test_set(test)
        result: dict[str, Any] = dict.fromkeys(("accuracy", "loss", "attended_tokens"))
        rows: list[dict[str, int]] = []
        with held(cell.device, say, sharers()):
            made_with = provenance(found, cell.device)
            if trained.status == "ok":
                scored = scoring.evaluate(cell, folder / layout.CHECKPOINT_FILE, test)
                result = {key: getattr(scored, key) for key in result}
                if cell.predicts_tokens:
                    own = ("state_bytes", "exact_match", "long_loss", "long_reason")
                    result |= {key: getattr(scored, key) for key in own}
                    result["parts"] = [Part(**asdict(each)) for each in scored.parts]
                else:
                    pairs = zip(scored.labels.tolist(), scored.predictions.tolist(), strict=True)
                    rows = [{"label": label, "prediction": answer} for label, answer in pairs]
                majority = f"(majority class {examples['chance']:.2f} %)"
                bits = f"  {in_bits(scored.loss):.4f} bits a token" * cell.predicts_tokens
                say(f"{cell.name}  test accuracy {scored.accuracy:.2f} % {majority}{bits}")
        write_rows(folder / layout.PREDICTIONS_FILE, rows, PredictionRow)
        record = ScoreRecord(
            **named(cell),
            **made_with,
            status=trained.status,
            reason=trained.reason,
            objective=cell.training.objective,
            **examples,
            **result,
        )
        write_record(folder / layout.SCORE_FILE, record)


def measure_span(
    folder: Path,
    data: Path,
    out: Path,
    methods: Sequence[str] = (),
    samples: int = 1000,
    queries: int = 16,
    planned: str | None = None,
) -> None:
    """Measure the required attention span of a trained cell on the validation split.

    methods: attention or gradient; empty: all that the mechanism has. samples: validation examples.
    queries: of an example, for gradient. Raises LRAError naming the file or the method.
    """
    from lra.evaluation import attention_span

    cell = read(Cell, str(folder / layout.CONFIG_FILE))
    mechanism = cell.encoder.attention
    found = agreed(planned, fingerprint.stage("span", mechanism))
    trained = read_record(folder / layout.TRAIN_FILE, TrainRecord)
    checkpoint, val = folder / layout.CHECKPOINT_FILE, data / "val.arrow"
    verify(val)
    rows, reasons = [], [trained.reason]
    known = attention_span.methods(mechanism)
    methods = [one_of("--method", method, known) for method in methods] or known
    with held(cell.device, say, sharers()):
        made_with = provenance(found, cell.device)
        for method in methods:
            settings = (cell, val, samples, method)
            if trained.status == "ok":
                spans, reason = attention_span.span(cell, checkpoint, val, samples, method, queries)
            else:
                spans, reason = attention_span.unmeasured(*settings, trained.status), None
            rows += spans
            reasons.append(reason)
            mean = spans[-1]
            value = f"{mean.span:.1f} tokens" if mean.status == "ok" else mean.status
            say(f"{cell.name}  span by {method} {value} (uniform attention {mean.uniform:.1f})")
    record = SpanRecord(
        **named(cell),
        **made_with,
        reason=next((reason for reason in reasons if reason), None),
        measures=[SpanMeasure(**asdict(row)) for row in rows],
    )
    write_record(out, record)


def generate_tokens(
    folder: Path,
    data: Path,
    out: Path,
    examples: int,
    steps: Sequence[int],
    blocks: Sequence[int],
    batch_size: int,
    planned: str | None = None,
) -> None:
    """Let a trained cell that predicts tokens fill in the first test examples by each sampler.

    steps: of an example or a block. blocks: their sizes in tokens. Raises LRAError naming the file.
    """
    from lra.evaluation import generate

    cell = read(Cell, str(folder / layout.CONFIG_FILE))
    if not cell.predicts_tokens:
        raise LRAError(f"{folder}: predicts labels, so it generates nothing")
    trained = read_record(folder / layout.TRAIN_FILE, TrainRecord)
    test = data / "test.arrow"
    verify(test)
    split, asked = read_split(test), generate.Asked(examples, steps, blocks, batch_size)
    module = module_of(split.info.generator["name"])
    found = agreed(planned, fingerprint.of_generation(cell, module))
    with held(cell.device, say, sharers()):
        made_with = provenance(found, cell.device)
        if trained.status == "ok":
            likelihood = generate.likelihood_of(module)
            settings = (cell, folder / layout.CHECKPOINT_FILE, test, asked, likelihood)
            rows, reason = generate.generate(*settings)
        else:
            way = generate.ways(cell.training.objective, split, asked)[0]
            rows = [generate.unmeasured(way, split, asked, trained.status)]
            reason = trained.reason
    for row in rows:
        say(f"{cell.name}  {generate.described(row)}")
    record = GenerationRecord(
        **named(cell),
        **made_with,
        objective=cell.training.objective,
        reason=reason,
        samplers=[Generated(**asdict(row)) for row in rows],
    )
    write_record(out, record)


def measure_baselines(task: TaskName, data: Path, out: Path, planned: str | None = None) -> None:
    """Score the baselines without a network on the task's splits, which lie in the folder `data`.

    Raises LRAError naming the file.
    """
    from lra.evaluation import accuracy, baselines, floors, tokens

    of_tokens = (task.variant_of or task.task) in OF_TOKENS
    found = agreed(planned, fingerprint.stage("floor" if of_tokens else "baseline"))
    for split in SPLITS:
        verify(data / f"{split}.arrow")
    results = floors.floors(data) if of_tokens else baselines.baselines(data)
    for each in results:
        value = f"{each.status}: {each.reason}"
        if each.status == "ok":
            value = f"{each.bits:.4f} bits" if of_tokens else f"{each.accuracy:.2f} %"
        say(f"{task.task}  {each.kind}  {value}")
    record = BaselineRecord(
        **task.model_dump(),
        **provenance(found, "cpu"),
        **(tokens if of_tokens else accuracy).test_set(data / "test.arrow"),
        n_train_split=len(read_split(data / "train.arrow")),
        measures=[Measure(**asdict(each)) for each in results],
    )
    write_record(out, record)


def measure_points(
    points: Sequence[ProfilePoint], root: Path, planned: str | None = None, again: bool = False
) -> None:
    """Measure the speed and the memory of each point, each in a process of its own.

    root: of the experiment, where the records are. A record of the same code and point stays,
    unless `again`. Raises LRAError naming the points that have no record.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler announces itself

    from lra.evaluation import profile  # noqa: F401 -- once for all children

    _measure_each("profile", list(product(points, POINT_KINDS)), root, planned, again)


def measure_decoding(
    points: Sequence[DecodePoint], root: Path, planned: str | None = None, again: bool = False
) -> None:
    """Measure what causal models cost, as `measure_points` measures speed and memory."""
    from lra.evaluation import decode  # noqa: F401 -- once for all children

    _measure_each("decode", [(point, point.what) for point in points], root, planned, again)


def _measure_each(
    stage: str,
    asked: Sequence[tuple[ProfilePoint, str]],
    root: Path,
    planned: str | None,
    again: bool,
) -> None:
    """Each (point, what) that is asked for."""
    failed = []
    for point, what in asked:
        found = agreed(planned, fingerprint.stage(stage, point.encoder.attention))
        row = profile_row(point.model, point.setting)
        name = layout.POINT_RECORD.format(what=what, model=row, length=point.length)
        if not again and _measured(root / name, KINDS[what].record, found, point):
            continue
        status = run_in_child(measure_point, what, point, root / name, found)
        if status:
            why = f" (signal {-status})" if status < 0 else ""
            failed.append(f"{what} at {point.length} tokens{why}")
    if failed:
        raise LRAError(f"{row}: not measured: {listed(failed)}")


def _measured(file: Path, kind: type[PointRecord], found: str, point: ProfilePoint) -> bool:
    """Whether this code has measured this very point."""
    try:
        record = read_record(file, kind)
    except LRAError:  # missing, of an earlier format, or damaged
        return False
    return (record.fingerprint, record.point) == (found, point.checksum)


def measure_point(what: str, point: ProfilePoint, out: Path, found: str) -> None:
    """Measure `what` (of KINDS) of one model at one length, alone on its GPU.

    found: the code's fingerprint.
    """
    kind = KINDS[what].record
    if what in DECODE_KINDS:
        from lra.evaluation import decode

        run = partial(getattr(decode, what), limit=point.limit)
    else:
        from lra.evaluation import profile

        run = getattr(profile, what)
    with held(point.device, say) as gpu, Meter(gpu) as meter:
        made_with = provenance(found, point.device)
        energy = {"joules": meter.joules} if what == "speed" else {}
        measured = run(point, **energy)
        use = meter.use()
    measured |= {"gpu": use and GpuUse(**use), "mechanism": point.encoder.attention}
    measured |= {"sizes": point.encoder.sizes, "point": point.checksum}
    known = dict.fromkeys(kind.model_fields) | point.model_dump() | measured | made_with
    record = kind(**{key: value for key, value in known.items() if key in kind.model_fields})
    write_record(out, record)
    if record.status == "ok":
        unit, size = UNITS[what]
        value = f"{number(getattr(record, KINDS[what].value), size)} {unit}"
    else:
        value = f"{record.status}: {record.reason}"
    say(f"{profile_row(point.model, point.setting)} at {point.length:,} tokens  {value}")
