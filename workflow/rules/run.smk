# The start of a run: alone in its folder, and what it will cost. Its end: the table, and what is not ok.
import atexit

from lra.core.locks import hold_folder
from lra.planning.summary import summary
from lra.training import finished_cell


def hold():
    """One run at a time in a folder; jobs run, and plans may be made, beside it."""
    global RUN_LOCK  # it is held as long as the object lives
    with mistakes_are_one_line():
        RUN_LOCK = hold_folder(Path())


def end():
    """No job runs any more, so none can lose its outputs."""
    finished_cell.forget_taken(Path("results", EXPERIMENT.experiment))
    say(summary(Path("results"), EXPERIMENT, sys.argv[1:]))


def say_estimate():
    jobs = workflow.dag.needrun_jobs(exclude_finished=False) if workflow._dag else ()
    cells = [cell_of(job.wildcards) for job in jobs if job.rule.name == "train"]
    if cells and not workflow.output_settings.quiet:
        say(estimate.summary(ESTIMATES, cells))


@atexit.register
def say_estimate_after_dryrun():
    if workflow.is_main_process and workflow.dryrun:  # no hook of Snakemake's runs then
        say_estimate()


onstart:
    hold()
    begin_under_slurm()
    say_estimate()


onsuccess:
    table = Path("results", EXPERIMENT.experiment, "tables/accuracy.md")
    if table.exists():
        text = table.read_text(encoding="utf-8")
        print(f"\n{text}\nTables and figures: {table.parent.parent}")
    end()


onerror:
    end()
