"""Verbs that join records and show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lra.errors import one_of
from lra.verbs import Out

app = typer.Typer()


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
def page(
    root: Annotated[Path, typer.Option(help="folder of the experiment")],
    tables: Annotated[str, typer.Option(help="comma-separated, in order")],
    figures: Annotated[str, typer.Option(help="comma-separated, in order")],
    out: Out,
    texts: Annotated[Path, typer.Option(help="folder of the captions and of page.html")] = Path(
        "workflow/report"
    ),
) -> None:
    """Put the tables and figures on one HTML page that needs no other file."""
    from lra import page as sheets

    sheets.write(root, tables.split(","), figures.split(","), texts, out)


@app.command()
def summary(
    configfile: Annotated[Path, typer.Option(help="the experiment")] = Path("config/config.yaml"),
) -> None:
    """Name every cell that is not ok, with its reason and the line to run it again."""
    from lra import summary as what
    from lra.resolve import Arena

    command = f"snakemake --cores all --configfile {configfile}"
    print(what.text(Path("results"), Arena.read(configfile).experiment, command))


@app.command()
def figure(
    what: Annotated[
        str,
        typer.Argument(
            help="performance, speed, memory, learning_curves, span, scores, difference, ranks or "
            "energy"
        ),
    ],
    root: Annotated[Path, typer.Option(help="folder of the experiment's Parquet tables")],
    reference: Annotated[Path, typer.Option(help="published accuracies, csv")],
    stem: Annotated[Path, typer.Option(help="where the svg, png and pdf go, without ending")],
) -> None:
    """Draw one figure as svg, png and pdf."""
    from lra import figures

    figures.draw(one_of("lra figure", what, figures.FIGURES), root, stem, reference)
