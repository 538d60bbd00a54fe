"""Verbs about a plan: its cells, their costs, its progress, the code that a stage depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lra import attention
from lra.cli.options import PEOPLE, Config, results_of
from lra.core.errors import one_of
from lra.results import fingerprint, layout

app = typer.Typer()


@app.command(rich_help_panel=PEOPLE)
def resolve(
    task: str,
    model: str,
    seed: Annotated[int | None, typer.Option(min=0, help="default: the experiment's first")] = None,
    configfile: Config = Path("config/config.yaml"),
) -> None:
    """Print a resolved cell, and for each key the file that sets its value."""
    from lra.config.annotate import annotated
    from lra.config.resolve import Arena

    print(annotated(Arena.read(configfile), task, model, seed))


@app.command(rich_help_panel=PEOPLE)
def estimate(
    configfile: Annotated[Path, typer.Argument(help="the experiment")],
    config: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, as snakemake's --config; repeatable")
    ] = None,
    write: Annotated[
        Path | None, typer.Option(help="add new rows to this csv, which plans read")
    ] = None,
) -> None:
    """Print the costs of each (task, model) of an experiment: memory, hours, disk."""
    from tqdm import tqdm

    from lra.config.resolve import Arena
    from lra.planning import estimate as plan
    from lra.planning.footprint import footprint

    arena = Arena.read(configfile, typed=config or ())
    cache = plan.read_cache(write or arena.root / plan.CACHE)
    missing = [load for load in plan.loads(arena) if load.key not in cache]
    found = [(load, footprint(load)) for load in tqdm(missing, "estimate", disable=not missing)]
    if write and found:
        plan.add_to_cache(write, found)
    cache |= {load.key: measured for load, measured in found}
    print(plan.table(plan.Estimates(arena, cache, results_of(arena.root))))


@app.command(rich_help_panel=PEOPLE)
def status(
    cell: Annotated[
        str | None, typer.Argument(help="task/model/seed<k>: its learning curve so far")
    ] = None,
    configfile: Config = Path("config/config.yaml"),
) -> None:
    """Print how many cells are done, running, waiting or failed, and the hours that are left."""
    from lra.config.resolve import Arena
    from lra.planning import status as progress

    arena = Arena.read(configfile, sources=False)
    results = results_of(arena.root)
    seen = progress.Progress(arena, results)
    root = results / arena.experiment.experiment
    if cell is not None:
        one_of("lra status", cell, [each.name for each in seen.cells])
        print(progress.curve(root, cell))
        return
    print(progress.report(seen))
    if (root / layout.TABLE.format(table="accuracy")).with_suffix(".csv").exists():
        from lra.report.glance import glance

        print(f"\nBy the tables so far:\n{glance(root)}")


@app.command(rich_help_panel=PEOPLE)
def depends(stage: str, mechanism: Annotated[str | None, typer.Argument()] = None) -> None:
    """Print the modules that a stage's fingerprint reads: `lra depends train linear`."""
    one_of("lra depends", stage, fingerprint.STAGES)
    if mechanism:
        one_of("lra depends", mechanism, attention.names())
    print(*fingerprint.modules(*fingerprint.roots(stage, mechanism)), sep="\n")
