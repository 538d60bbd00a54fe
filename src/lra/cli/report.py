"""Verbs that join records and show them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lra.cli.options import PEOPLE, RULES, Config, Out, results_of
from lra.core.errors import LRAError, one_of, shown

app = typer.Typer()
Commas = Annotated[str, typer.Option(help="comma-separated")]
Root = Annotated[Path, typer.Option(help="folder of the experiment")]
Stem = Annotated[Path, typer.Option(help="where the files go, without ending")]
Reference = Annotated[Path, typer.Option(help="published accuracies, csv")]
ROWS = {  # what a table has rows of, if not of cells; there may be no cell that is measured
    "baselines": ("tasks",), "span": ("tasks", "seeds"), "generate": ("tasks", "seeds"),
    **dict.fromkeys(("speed", "memory", "decode", "directions"), ("models", "lengths")),
}  # fmt: skip
PUBLISHED = Path("config/reference/scores.csv")


@app.command(rich_help_panel=RULES)
def collect(
    what: Annotated[
        str,
        typer.Argument(
            help="scores, history, span, generate, parts, baselines, speed, memory, decode or "
            "directions"
        ),
    ],
    root: Root,
    out: Out,
    models: Commas,
    tasks: Commas = "",
    seeds: Commas = "",
    lengths: Commas = "",
) -> None:
    """Gather the records of the listed cells or profile points into one Parquet table."""
    from lra.results.collect import WHAT
    from lra.results.collect import collect as gather

    one_of("lra collect", what, WHAT)
    needed = ROWS.get(what, ("tasks", "models", "seeds"))
    given = {"tasks": tasks, "models": models, "seeds": seeds, "lengths": lengths}
    if empty := [name for name in needed if not given[name]]:
        raise LRAError(f"--{empty[0]}: is empty, so there is nothing of {what} to collect")
    numbers = _numbers("--seeds", seeds), _numbers("--lengths", lengths)
    gather(what, root, out, _listed(tasks), _listed(models), *numbers)


@app.command(rich_help_panel=RULES)
def tables(
    name: Annotated[str, typer.Argument(help="a table of src/lra/report/registry.py")],
    root: Root,
    stem: Stem,
    reference: Reference = PUBLISHED,
) -> None:
    """Write one table as csv, Markdown, LaTeX and HTML."""
    from lra.report import registry
    from lra.report.tables.write import write

    write(registry.table(name), root, stem, reference)


@app.command(rich_help_panel=RULES)
def figure(
    name: Annotated[str, typer.Argument(help="a figure of src/lra/report/registry.py")],
    root: Root,
    stem: Stem,
    reference: Reference = PUBLISHED,
) -> None:
    """Draw one figure as svg, png and pdf."""
    from lra.report import registry
    from lra.report.figures.draw import draw

    draw(registry.figure(name), root, stem, reference)


@app.command(rich_help_panel=RULES)
def page(
    root: Root,
    out: Out,
    captions: Annotated[Path, typer.Option(help="folder of the captions")] = Path(
        "workflow/report"
    ),
    tokens: Annotated[bool, typer.Option(help="its cells predict tokens, not labels")] = False,
    decode: Annotated[bool, typer.Option(help="it has a decode section")] = False,
) -> None:
    """Put all tables and figures on one HTML page that needs no other file."""
    from lra.report import registry
    from lra.report.page import write

    write(root, *registry.shown(tokens, decode), captions, out)


@app.command(rich_help_panel=PEOPLE)
def summary(
    folder: Annotated[
        Path | None, typer.Argument(help="of finished results: what was found, and nothing else")
    ] = None,
    configfile: Config = Path("config/config.yaml"),
) -> None:
    """Name every cell that is not ok, with its reason and the line to run it again."""
    if folder is not None:
        from lra.report.glance import glance

        print(glance(folder))
        return
    from lra.config.resolve import Arena
    from lra.planning.summary import summary as text

    arguments = ["--cores", "all", "--configfile", str(configfile)]
    arena = Arena.read(configfile)
    print(text(results_of(arena.root), arena.experiment, arguments))


def _listed(text: str) -> list[str]:
    return text.split(",") if text else []


def _numbers(option: str, text: str) -> list[int]:
    words = _listed(text)
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise LRAError(f"{option}: {shown(word)} is no number; {shown(text)} was given")
    return [int(word) for word in words]
