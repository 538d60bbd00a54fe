# The start of a run: alone in its folder, and what it will cost. Its end: the table, and what is not ok.
from lra.core.locks import hold_folder
from lra.planning.summary import summary
from lra.training import finished_cell


def hold():
    """One run at a time in a folder; jobs run, and plans may be made, beside it."""
    global RUN_LOCK  # it is held as long as the object lives
    try:
        RUN_LOCK = hold_folder(Path())
    except LRAError as error:
        raise SystemExit(f"lra: {error}")


def end():
    """No job runs any more, so none can lose its outputs."""
    finished_cell.forget_taken(Path("results", EXPERIMENT.experiment))
    print(summary(Path("results"), EXPERIMENT, sys.argv[1:]), file=sys.stderr)


onstart:
    hold()
    begin_under_slurm()
    say_estimate()


onsuccess:
    table = Path("results", EXPERIMENT.experiment, "tables/accuracy.md")
    if table.exists():
        print(f"\n{table.read_text()}\nTables and figures: {table.parent.parent}")
    end()


onerror:
    end()
