"""Verbs that train, score and measure models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lra.cli.options import RULES, Out, Planned
from lra.config.cell import Cell, PretrainingCell, ProfilePoint, read
from lra.results.baselines import TaskName

app = typer.Typer()
Data = Annotated[Path, typer.Option(help="folder of the data set")]
Resolved = Annotated[str, typer.Option("--cell", help="a config.yaml, or its JSON")]
Unfinished = Annotated[
    Path, typer.Option("--work", help="folder of unfinished work, removed at the end")
]
SaveSeconds = Annotated[
    float, typer.Option(envvar="LRA_SAVE_SECONDS", help="longest work that a kill can lose")
]
Folder = Annotated[Path, typer.Option("--cell", help="folder of a trained cell")]
Root = Annotated[Path, typer.Option(help="folder of the experiment")]
Again = Annotated[
    bool, typer.Option(envvar="LRA_MEASURE_AGAIN", help="also what is measured already")
]
LastAttempt = Annotated[
    bool, typer.Option(envvar="LRA_LAST_ATTEMPT", help="snakemake will not try again")
]


@app.command(rich_help_panel=RULES)
def train(
    cell: Resolved,
    data: Data,
    out: Out,
    work: Unfinished,
    pretrained: Annotated[
        Path | None, typer.Option(help="folder of its pretraining, where it has one")
    ] = None,
    fingerprint: Planned = None,
    save_seconds: SaveSeconds = 30.0,
    last_attempt: LastAttempt = False,
) -> None:
    """Train one cell: config.yaml, checkpoint.safetensors, history.parquet, train.json.

    Run again after a kill, it goes on from the last saved step and ends with the same bits.
    SIGTERM, SIGINT and SIGUSR1 make it save its state and end with an error. SIGUSR1 is a
    scheduler's warning of the time limit: in the last attempt the cell gets status timeout.
    """
    from lra.training.job import train_cell

    settings = (fingerprint, save_seconds, last_attempt, pretrained)
    train_cell(read(Cell, cell), data, out, work, *settings)


@app.command(rich_help_panel=RULES)
def pretrain(
    cell: Resolved,
    data: Data,
    out: Out,
    work: Unfinished,
    fingerprint: Planned = None,
    save_seconds: SaveSeconds = 30.0,
    last_attempt: LastAttempt = False,
) -> None:
    """Train a cell's model on the tokens of its training inputs: the same files, and pretrain.json.

    What is said of `lra train` holds here too. No label and no test input is read.
    """
    from lra.training.job import train_cell

    settings = (fingerprint, save_seconds, last_attempt)
    train_cell(read(PretrainingCell, cell), data, out, work, *settings)


@app.command(rich_help_panel=RULES)
def killed(
    work: Annotated[Path, typer.Argument(help="folder of unfinished work")],
    code: Annotated[int, typer.Argument(help="exit status of `lra train`; ours is the same")],
    last_attempt: LastAttempt = False,
) -> None:
    """Say why a training ended by SIGKILL, which it cannot say itself.

    Where the kernel has counted a kill for lack of memory in the cgroup since the training began,
    and no attempt is left, the cell gets status oom and the exit status is 0.
    """
    from lra.training.job import explain_kill

    sys.exit(explain_kill(work, code, last_attempt))


@app.command(rich_help_panel=RULES)
def evaluate(
    folder: Folder,
    data: Data,
    work: Annotated[Path, typer.Option(help="of its training; a failure is noted beside it")],
    fingerprint: Planned = None,
) -> None:
    """Score a trained cell on the test split: score.json, predictions.parquet."""
    from lra.evaluation.job import score_cell

    score_cell(folder, data, work, fingerprint)


@app.command(rich_help_panel=RULES)
def span(
    folder: Folder,
    data: Data,
    out: Out,
    method: Annotated[
        list[str] | None, typer.Option(help="attention or gradient; default: all there are")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="validation examples")] = 1000,
    queries: Annotated[int, typer.Option(min=1, help="of an example, for gradient")] = 16,
    fingerprint: Planned = None,
) -> None:
    """Measure the required attention span of a trained cell on the validation split."""
    from lra.evaluation.job import measure_span

    measure_span(folder, data, out, method or (), samples, queries, fingerprint)


@app.command(rich_help_panel=RULES)
def generate_tokens(
    folder: Folder,
    data: Data,
    out: Out,
    examples: Annotated[int, typer.Option(min=1, help="of the test split, the first")] = 256,
    steps: Annotated[
        list[int] | None,
        typer.Option(min=1, help="of an example or a block; default: 1, 2, ... 64"),
    ] = None,
    block: Annotated[
        list[int] | None, typer.Option(min=1, help="tokens of a block; default: none")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="examples at once")] = 64,
    fingerprint: Planned = None,
) -> None:
    """Let a trained cell that predicts tokens fill in test examples by each sampler."""
    from lra.config.schema import Generate
    from lra.evaluation.job import generate_tokens

    steps = steps or Generate().steps
    generate_tokens(folder, data, out, examples, steps, block or (), batch_size, fingerprint)


@app.command(rich_help_panel=RULES)
def baseline(
    task: Annotated[
        str, typer.Option("--task", help="experiment, protocol, task, dataset as JSON")
    ],
    data: Data,
    out: Out,
    fingerprint: Planned = None,
) -> None:
    """Score what needs no network on a task: majority class, root operator, n-grams, pixels."""
    from lra.evaluation.job import measure_baselines

    measure_baselines(read(TaskName, task), data, out, fingerprint)


@app.command(rich_help_panel=RULES)
def profile(
    points: Annotated[list[str], typer.Argument(help="profile points as YAML files or JSON")],
    root: Root,
    fingerprint: Planned = None,
    again: Again = False,
) -> None:
    """Measure speed and memory of a model at one length or more, each alone on its GPU."""
    from lra.evaluation.job import measure_points

    measure_points([read(ProfilePoint, each) for each in points], root, fingerprint, again)


@app.command(rich_help_panel=RULES)
def decode(
    points: Annotated[list[str], typer.Argument(help="decode points as YAML files or JSON")],
    root: Root,
    fingerprint: Planned = None,
    again: Again = False,
) -> None:
    """Measure a causal model token by token, and its training beside one that sees all tokens."""
    from lra.config.decode import DecodePoint
    from lra.evaluation.job import measure_decoding

    measure_decoding([read(DecodePoint, each) for each in points], root, fingerprint, again)
