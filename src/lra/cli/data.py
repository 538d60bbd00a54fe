"""Commands that make and show data sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lra.cli.options import PEOPLE, RULES, Out, Planned
from lra.config.cell import read
from lra.core.errors import one_of
from lra.core.progress import say

app = typer.Typer()
Workers = Annotated[int, typer.Option(min=1, help="processes")]
DatasetText = Annotated[
    str, typer.Option("--dataset", help="a name in config/datasets.yaml, or a recipe as JSON")
]


def _recipe(dataset: str):
    """A name in config/datasets.yaml, or a recipe as JSON."""
    from lra.config.resolve import datasets
    from lra.data.recipe import Recipe

    if dataset.startswith("{"):
        return read(Recipe, dataset)
    known = datasets(Path.cwd())
    return known[one_of("--dataset", dataset, known)]


@app.command(rich_help_panel=RULES)
def download(
    archive: Annotated[
        str, typer.Option(help="file, urls or package, sha256, bytes; a YAML file or JSON")
    ],
    out: Out,
    mirror: Annotated[
        Path | None,
        typer.Option(envvar="LRA_DATA_MIRROR", help="folder that holds the file; no network"),
    ] = None,
) -> None:
    """Download an archive of a data set and verify it; a second run resumes a partial download."""
    from lra.core.locks import alone
    from lra.data.download import download as bring
    from lra.data.recipe import Archive

    with alone(out, say):
        bring(read(Archive, archive), out, mirror)  # keeps a good file that is there


@app.command(rich_help_panel=RULES)
def prepare(
    dataset: DatasetText,
    archive: Annotated[Path, typer.Option(help="the downloaded file")],
    out: Out,
    fingerprint: Planned = None,
) -> None:
    """Make a data set from a downloaded archive: the same files as `lra generate`."""
    from lra.data.prepare import prepare_dataset
    from lra.data.sources import READERS
    from lra.data.stamp import make_once
    from lra.results.fingerprint import agreed, stage

    entry = _recipe(dataset)
    module = READERS[one_of("--dataset: source", entry.source, READERS)]
    found = agreed(fingerprint, stage("prepare", module))
    make_once(out, entry, found, partial(prepare_dataset, module, entry, archive, out))


@app.command(rich_help_panel=RULES)
def generate(
    dataset: DatasetText, out: Out, workers: Workers = 1, fingerprint: Planned = None
) -> None:
    """Make a data set: train.arrow, val.arrow, test.arrow and dataset.json."""
    from lra.data.generate import generate_dataset
    from lra.data.sources import GENERATORS
    from lra.data.stamp import make_once
    from lra.results.fingerprint import agreed, stage

    entry = _recipe(dataset)
    one_of("--dataset: source", entry.source, GENERATORS)
    found = agreed(fingerprint, stage("generate", entry.source))
    settings = (entry.source, entry.options, entry.sizes, entry.seed)
    make_once(out, entry, found, partial(generate_dataset, *settings, out, workers))


@app.command(rich_help_panel=PEOPLE)
def distributions(
    splits: Annotated[list[Path], typer.Argument(help="train.arrow of one data set, of another")],
) -> None:
    """Compare splits: shares of labels, lengths, tokens; for images pixels above 0 and values."""
    from lra.data.distributions import compared

    print(compared(splits))


@app.command(rich_help_panel=RULES)
def contact_sheet(split: Path, out: Path) -> None:
    """Draw samples of an image split by label, as a PNG."""
    from lra.data.contact_sheet import contact_sheet as draw

    draw(split, out)
