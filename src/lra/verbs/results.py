"""Verbs that join records and show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lra.errors import LRAError, one_of
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
    what: Annotated[
        str,
        typer.Argument(
            help="accuracy, significance, efficiency, costs, training, span or shortcomings"
        ),
    ],
    root: Annotated[Path, typer.Option(help="folder of the experiment's Parquet tables")],
    stem: Annotated[Path, typer.Option(help="where the csv, md, tex and html go, without ending")],
    reference: Annotated[Path | None, typer.Option(help="published figures, csv")] = None,
    own_tasks: Annotated[
        str, typer.Option(help="of accuracy: comma-separated tasks that are variants of our own")
    ] = "",
    mechanisms: Annotated[
        str, typer.Option(help="of shortcomings: model=mechanism, comma-separated")
    ] = "",
) -> None:
    """One table of what was measured, as csv, Markdown, LaTeX and HTML."""
    names = ("accuracy", "significance", "efficiency", "costs", "training", "span", "shortcomings")
    one_of("lra tables", what, names)
    if what in ("accuracy", "efficiency", "costs") and reference is None:
        raise LRAError(f"lra tables {what}: --reference is needed, one of config/reference/*.csv")
    scores, speed, memory = (root / f"{name}.parquet" for name in ("scores", "speed", "memory"))
    if what == "accuracy":
        from lra.tables.accuracy import accuracy

        accuracy(scores, reference, stem, own_tasks.split(","))
    elif what == "significance":
        from lra.tables.significance import significance

        significance(scores, stem)
    elif what == "training":
        from lra.tables.training import training

        training(scores, stem)
    elif what == "span":
        from lra.tables.span import span

        span(root / "span.parquet", stem)
    elif what == "shortcomings":
        from lra.tables.shortcomings import shortcomings

        pairs = (pair.partition("=") for pair in mechanisms.split(",") if pair)
        shortcomings(root, {model: mechanism for model, _, mechanism in pairs}, stem)
    else:
        from lra.tables import efficiency

        getattr(efficiency, what)(speed, memory, reference, stem)


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

    arguments = ["--cores", "all", "--configfile", str(configfile)]
    print(what.text(Path("results"), Arena.read(configfile).experiment, arguments))


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
    own_tasks: Annotated[str, typer.Option(help="of difference: as of the table of accuracy")] = "",
) -> None:
    """Draw one figure as svg, png and pdf."""
    from lra import figures

    name = one_of("lra figure", what, figures.FIGURES)
    figures.draw(name, root, stem, reference, own_tasks.split(","))
