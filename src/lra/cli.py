"""`lra <verb>`: one verb per stage of the pipeline, each usable by hand.

A verb reads its inputs, calls its stage's module and writes the records. Mistakes and broken files
end it with one line and exit status 1.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lra import fingerprint
from lra.cell import Cell, ProfilePoint, read, to_yaml
from lra.errors import LRAError, one_of

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)

CellText = Annotated[str, typer.Option("--cell", help="a config.yaml, or its JSON")]
PointText = Annotated[str, typer.Option("--point", help="a profile point as YAML file or JSON")]
Planned = Annotated[str | None, typer.Option(help="stop if the code is no longer this one")]
DatasetText = Annotated[
    str, typer.Option("--dataset", help="a name in config/datasets.yaml, or a recipe as JSON")
]
Out = Annotated[Path, typer.Option(help="where the result goes")]
Listed = Annotated[list[str], typer.Option()]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _recipe(dataset: str):
    """A name in config/datasets.yaml, or a recipe as JSON."""
    from lra.config import Recipe
    from lra.resolve import datasets

    if dataset.startswith("{"):
        return Recipe.model_validate_json(dataset)
    known = datasets(Path.cwd())
    return known[one_of("--dataset", dataset, known)]


@app.command()
def generate(dataset: DatasetText, out: Out, workers: int = 1, fingerprint: Planned = None) -> None:
    """Make a data set: train.arrow, val.arrow, test.arrow and dataset.json."""
    from lra import fingerprint as code
    from lra.data.generate import generate_dataset
    from lra.provenance import agreed
    from lra.resolve import GENERATORS

    entry = _recipe(dataset)
    one_of("--dataset: source", entry.source, GENERATORS)
    agreed(fingerprint, code.generator(entry.source))
    generate_dataset(entry.source, entry.options, entry.sizes, entry.seed, out, workers)


@app.command()
def prepare(
    dataset: DatasetText,
    archive: Annotated[Path, typer.Option(help="the downloaded file")],
    out: Out,
    fingerprint: Planned = None,
) -> None:
    """Make a data set of a downloaded archive: the same files as `lra generate`."""
    from lra import fingerprint as code
    from lra.data.prepare import prepare_dataset
    from lra.provenance import agreed
    from lra.resolve import READERS

    entry = _recipe(dataset)
    module = READERS[one_of("--dataset: source", entry.source, READERS)]
    agreed(fingerprint, code.reader(module))
    prepare_dataset(module, entry, archive, out)


@app.command()
def distributions(
    splits: Annotated[list[Path], typer.Argument(help="train.arrow of one data set, of another")],
) -> None:
    """Print what splits hold, side by side: labels, lengths, tokens; for images ink and values."""
    from lra.data.distributions import compared

    print(compared(splits))


@app.command()
def download(
    archive: Annotated[
        str, typer.Option(help="file, urls, sha256 and bytes, as YAML file or JSON")
    ],
    out: Out,
    mirror: Annotated[
        Path | None,
        typer.Option(envvar="LRA_DATA_MIRROR", help="folder that has the file; no network then"),
    ] = None,
) -> None:
    """Bring an archive of a data set to the disk, verified; run again, it resumes."""
    from lra.config import Archive
    from lra.data.download import download as bring

    bring(read(Archive, archive), out, mirror)


@app.command()
def contact_sheet(split: Path, out: Path) -> None:
    """Draw samples of an image split by label, as a PNG."""
    from lra.data.contact_sheet import contact_sheet as draw

    draw(split, out)


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
) -> None:
    """Train one cell: config.yaml, checkpoint.safetensors, history.parquet, train.json.

    Run again after a kill, it goes on from the last saved step and ends with the same bits.
    """
    from safetensors.torch import save

    from lra import fingerprint as code
    from lra.data.manifest import verify
    from lra.files import write_beside
    from lra.provenance import agreed, provenance
    from lra.records import CurveRow, TrainRecord, write_record, write_rows
    from lra.resume import Work
    from lra.train import train as run

    resolved = read(Cell, cell)
    found = agreed(fingerprint, code.stage("train", resolved.encoder.attention))
    for split in ("train", "val"):
        verify(data / f"{split}.arrow")
    key = json.dumps([resolved.model_dump(mode="json"), found])
    unfinished = Work(work, key, say)
    outcome = run(resolved, data, unfinished, say, save_seconds)
    write_beside(out / "config.yaml", to_yaml(resolved).encode())
    # one key only: safetensors writes several in an order that changes from run to run
    facts = {"step": str(outcome.chosen_step)}
    write_beside(out / "checkpoint.safetensors", save(outcome.weights, facts))
    write_rows(out / "history.parquet", outcome.history, CurveRow)
    record = TrainRecord(
        **provenance(found, resolved.device),
        status=outcome.status,
        reason=outcome.reason,
        params=outcome.params,
        steps=outcome.steps,
        chosen_step=outcome.chosen_step,
        train_seconds=outcome.seconds,
        val_accuracy=outcome.val_accuracy,
    )
    write_record(out / "train.json", record)
    unfinished.remove()
    if outcome.status != "ok":
        say(f"{resolved.name}  status {outcome.status}: {outcome.reason}")


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Option("--cell", help="folder of a trained cell")],
    data: Annotated[Path, typer.Option(help="folder of the data set")],
    fingerprint: Planned = None,
) -> None:
    """Score a trained cell on the test split: score.json, predictions.parquet."""
    from lra import fingerprint as code
    from lra.data.manifest import verify
    from lra.evaluate import evaluate as score
    from lra.evaluate import facts
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
    if trained.status == "ok":
        scored = score(cell, folder / "checkpoint.safetensors", test)
        result = {"accuracy": scored.accuracy, "loss": scored.loss}
        pairs = zip(scored.labels.tolist(), scored.predictions.tolist(), strict=True)
        rows = [{"label": label, "prediction": prediction} for label, prediction in pairs]
        majority = f"(majority class {about['chance']:.2f} %)"
        say(f"{cell.name}  test accuracy {scored.accuracy:.2f} % {majority}")
    write_rows(folder / "predictions.parquet", rows, PredictionRow)
    record = ScoreRecord(
        **provenance(found, cell.device),
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
) -> None:
    """Measure the required attention span of a trained cell on the validation split."""
    from lra import fingerprint as code
    from lra import span as measure
    from lra.data.manifest import verify
    from lra.provenance import agreed, provenance
    from lra.records import SpanMeasure, SpanRecord, TrainRecord, read_record, write_record

    cell = read(Cell, str(folder / "config.yaml"))
    mechanism = cell.encoder.attention
    found = agreed(fingerprint, code.stage("span", mechanism))
    trained = read_record(folder / "train.json", TrainRecord)
    checkpoint, val = folder / "checkpoint.safetensors", data / "val.arrow"
    verify(val)
    rows, reasons = [], [trained.reason]
    for name in method or measure.methods(mechanism):
        one_of("--method", name, measure.methods(mechanism))
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
        **provenance(found, cell.device),
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
    """Measure the speed or the memory of one model at one length."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler announces itself

    from lra import fingerprint as code
    from lra import profile as measure
    from lra.provenance import agreed, provenance
    from lra.records import MemoryRecord, SpeedRecord, write_record

    kinds = {"speed": (measure.speed, SpeedRecord), "memory": (measure.memory, MemoryRecord)}
    run, kind = kinds[one_of("lra profile", what, kinds)]
    resolved = read(ProfilePoint, point)
    found = agreed(fingerprint, code.stage("profile", resolved.encoder.attention))
    measured = asdict(run(resolved))
    known = {key: value for key, value in measured.items() if key in kind.model_fields}
    keys = ("model", "length", "batch_size", "threads", "precision")
    asked = {key: getattr(resolved, key) for key in keys}
    record = kind(**provenance(found, resolved.device), **asked, **known)
    write_record(out, record)
    if record.status != "ok":
        say(f"{resolved.model} at {resolved.length} tokens: {record.status}: {record.reason}")


@app.command()
def collect(
    what: Annotated[str, typer.Argument(help="scores, history, span, speed or memory")],
    root: Annotated[Path, typer.Option(help="folder of the experiment")],
    out: Out,
    models: Annotated[str, typer.Option(help="comma-separated")],
    tasks: Annotated[str, typer.Option(help="comma-separated")] = "",
    seeds: Annotated[str, typer.Option(help="comma-separated")] = "",
    lengths: Annotated[str, typer.Option(help="comma-separated")] = "",
    protocol: str = "",
) -> None:
    """Gather the records of the listed cells or profile points into one Parquet table."""
    from lra import collect as gather

    one_of("lra collect", what, ("scores", "history", "span", "speed", "memory"))
    columns, name = tasks.split(","), root.name
    rows = models.split(",") if models else []
    if what in ("speed", "memory"):
        counts = [int(length) for length in lengths.split(",")]
        getattr(gather, what)(root, rows, counts, name, out)
        return
    numbers = [int(seed) for seed in seeds.split(",")]
    if what == "scores":
        gather.scores(root, columns, rows, numbers, name, protocol, out)
    elif what == "span":
        gather.span(root, columns, rows, numbers, name, out)
    else:
        gather.history(root, columns, rows, numbers, out)


@app.command()
def tables(
    what: Annotated[str, typer.Argument(help="accuracy or efficiency")],
    root: Annotated[Path, typer.Option(help="folder of the experiment's Parquet tables")],
    reference: Annotated[Path, typer.Option(help="the paper's figures, csv")],
    stem: Annotated[Path, typer.Option(help="where the csv, md, tex and html go, without ending")],
) -> None:
    """Our figures beside the paper's, as csv, Markdown, LaTeX and HTML."""
    from lra import tables as table

    if one_of("lra tables", what, ("accuracy", "efficiency")) == "accuracy":
        table.accuracy(root / "scores.parquet", reference, stem)
    else:
        table.efficiency(root / "speed.parquet", root / "memory.parquet", reference, stem)


@app.command()
def figure(
    what: Annotated[
        str, typer.Argument(help="performance, speed, memory, learning_curves or span")
    ],
    root: Annotated[Path, typer.Option(help="folder of the experiment's Parquet tables")],
    stem: Annotated[Path, typer.Option(help="where the svg and png go, without ending")],
) -> None:
    """Draw one figure as svg and png."""
    from lra import figures

    figures.draw(one_of("lra figure", what, figures.FIGURES), root, stem)


@app.command()
def resolve(
    task: str,
    model: str,
    seed: int = 0,
    configfile: Annotated[Path, typer.Option(help="the experiment")] = Path("config/config.yaml"),
) -> None:
    """Print a cell, and behind each key where its value is written."""
    from lra.resolve import Arena, annotated

    print(annotated(Arena.read(configfile), task, model, seed))


@app.command()
def estimate(
    configfile: Annotated[Path, typer.Argument(help="the experiment")],
    write: Annotated[
        Path | None, typer.Option(help="keep new rows in this csv, which plans read")
    ] = None,
) -> None:
    """Print what each (task, model) of an experiment will cost: memory, hours, disk."""
    from tqdm import tqdm

    from lra import estimate as plan
    from lra.footprint import footprint
    from lra.resolve import Arena

    arena = Arena.read(configfile)
    cache = plan.read_cache(write or arena.root / plan.CACHE)
    missing = [load for load in plan.loads(arena) if load.key not in cache]
    found = [(load, footprint(load)) for load in tqdm(missing, "estimate", disable=not missing)]
    if write and found:
        plan.add_to_cache(write, found)
    cache |= {load.key: figures for load, figures in found}
    print(plan.table(plan.Estimates(arena, cache, Path("results"))))


@app.command()
def schemas(out: Path) -> None:
    """Write the JSON Schema of every kind of file below config/ and of every record."""
    from lra.config import SCHEMAS, schema
    from lra.files import write_beside

    for name in SCHEMAS:
        text = json.dumps(schema(name), indent=2) + "\n"
        write_beside(out / f"{name}.schema.json", text.encode())


@app.command()
def mechanisms(out: Path) -> None:
    """Write the page of all attention mechanisms, by family."""
    from lra.files import write_beside
    from lra.mechanisms import page

    write_beside(out, page().encode())


@app.command()
def depends(stage: str, mechanism: Annotated[str | None, typer.Argument()] = None) -> None:
    """Print the modules that a stage's fingerprint reads: `lra depends train linear`."""
    extra = [f"lra.attention.{mechanism}"] if mechanism else []
    print(*fingerprint.modules(f"lra.{stage}", *extra), sep="\n")


def main() -> None:
    try:
        app()
    except LRAError as error:
        say(f"lra: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
