"""Verbs for the archive of an experiment: write it, check it, restore it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lra.cli.options import PEOPLE, RULES, Out
from lra.core.errors import LRAError
from lra.core.progress import say

app = typer.Typer()
Zip = Annotated[Path, typer.Argument(help="what `lra archive` wrote")]


@app.command(rich_help_panel=RULES)
def archive(
    targets: Annotated[list[str], typer.Argument(help="results; what they depend on goes in, too")],
    experiment: Annotated[str, typer.Option(help="a file in config/, or its JSON")],
    out: Out,
    checkpoints: Annotated[bool, typer.Option(help="include the weights of every cell")] = False,
    data: Annotated[bool, typer.Option(help="include the data, not only its recipe")] = False,
) -> None:
    """Write one zip of source, records, tables and figures, and of the jobs that made them."""
    from lra.archive.write import archive as write
    from lra.config.cell import read
    from lra.config.resolve import Arena
    from lra.config.schema import Experiment

    if experiment.startswith("{"):
        whole = read(Experiment, experiment)
    else:
        whole = Arena.read(Path(experiment)).experiment
    for line in write(whole, targets, Path.cwd(), out, checkpoints, data):
        say(f"{out.name}: {line}")
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB; check it with: lra verify {out}")


@app.command(rich_help_panel=PEOPLE)
def verify(
    archive: Zip,
    rerun: Annotated[int, typer.Option(min=0, help="number of cells to train again")] = 0,
    cores: Annotated[int, typer.Option(min=1, help="for jobs that run again")] = 1,
) -> None:
    """Check an archive: checksums, records, jobs, tables and figures made again.

    It runs the code of the archive. Each finding is one line that names the file; with any, the
    exit status is 1.
    """
    from lra.archive.verify import verify as check

    found = check(archive, rerun, cores, lambda line: say(f"ok  {line}"))
    for line in found:
        print(line)
    if found:
        raise LRAError(f"{archive}: {len(found)} finding{'s' if len(found) > 1 else ''}")
    say(f"{archive}: agrees with itself")


@app.command(rich_help_panel=PEOPLE)
def restore(
    archive: Zip,
    folder: Annotated[Path, typer.Argument(help="new or empty")],
    data: Annotated[bool, typer.Option(help="make the data that was left out")] = True,
    cores: Annotated[int, typer.Option(min=1, help="to make data with")] = 1,
) -> None:
    """Unpack an archive to a folder in which snakemake has nothing to do, and make its data.

    Making the data runs the code of the archive; with --no-data none runs.
    """
    from lra.archive.restore import make_data
    from lra.archive.restore import restore as unpack

    about = unpack(archive, folder)
    if about.changed:
        files = f"{len(about.changed)} file{'s' if len(about.changed) > 1 else ''}"
        say(f"{folder}: source is commit {about.commit[:12]}, changed in {files}")
    splits = about.left_out_splits
    if splits and data:
        say(f"{folder}: making {len(splits)} splits of data (--no-data leaves them out)")
        make_data(folder, about, cores)
        say(f"{folder}: data has the same bytes as in the experiment")
    elif splits:
        say(f"{folder}: has no data. Before you change what is trained, in it:")
        say(f"snakemake --cores all -- {' '.join(splits)}")
    say(f"{folder}: restored; in it: snakemake -n")
