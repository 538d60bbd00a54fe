# The start of a run: alone in its folder, and what it will cost. Its end: the table, and what is not ok.
import atexit
import logging
import os
from collections import Counter

from snakemake.logging import logger
from snakemake.settings.enums import Quietness

from lra.core.files import not_from_the_future
from lra.core.formats import listed
from lra.core.locks import hold_folder
from lra.planning.purged import purged
from lra.planning.summary import FailedJob, summary
from lra.training import finished_cell


def hold():
    """One run at a time in a folder; jobs run, and plans may be made, beside it."""
    global RUN_LOCK  # it is held as long as the object lives
    with ends_in_one_line():
        RUN_LOCK = hold_folder(Path())


def look_for_the_missing():
    """At every plan, also of a run with nothing to do: a few files of each cell are looked for."""
    datasets = {task: arena.dataset_name(task) for task in TASKS}
    inputs = [
        f"{layout.DATA}/{name}/{file}"
        for name in DATASETS
        for file in ("dataset.json", "train.arrow", "val.arrow", "test.arrow")
    ]
    with ends_in_one_line():
        not_from_the_future(map(Path, inputs))
    for line in purged(Path("results"), EXPERIMENT, datasets):
        say(SPEAKER + line)


def measure_forced_again():
    """What is measured already stays when a length is added; but not where a profile is forced."""
    asked = workflow.dag_settings
    everything = asked.forceall or asked.forcetargets
    if workflow.is_main_process and (
        everything or any("profile" in name for name in asked.forcerun)
    ):
        os.environ.update(LRA_MEASURE_AGAIN="1")  # of every job


def look_at_waiting_jobs_when_one_ends():
    """Its limit on jobs a second makes Snakemake 9.27 look at all of them once more a second later,
    for ever, and each job that ends adds such a series: after 200 jobs, 200 looks a second.
    """
    workflow.scheduler.job_rate_limiter = None


def end():
    """No job runs any more, so none can lose its outputs."""
    finished_cell.forget_taken(Path("results", EXPERIMENT.experiment))
    arguments = sys.argv[1:]
    say(
        summary(
            Path("results"), EXPERIMENT, arguments, failed_jobs(), cells_asked_for()
        )
    )


def cells_asked_for():
    """Those that this run's targets need, and that it has to score or has not trained."""
    jobs = workflow.dag.jobs if workflow._dag else ()
    return {
        layout.NAME.format(**job.wildcards_dict)
        for job in jobs
        if job.rule.name == "evaluate"
        or (job.rule.name == "train" and not Path(job.output.record).exists())
    }


def failed_jobs():
    """But those of cells, whose failures have records."""
    for job in workflow.scheduler.failed if workflow.scheduler else ():
        for each in job.jobs if job.is_group() else [job]:
            if each.rule.name not in ("pretrain", "train", "evaluate"):
                log = Path(each.log[0]) if each.log else None
                yield FailedJob(each.message or each.rule.name, log)


def as_here():
    """How `lra estimate` gets this plan's experiment, and where its cells will run."""
    values = workflow.config_settings.config_args or ()
    return estimate.Here(tuple(map(str, values)), under_slurm() or bool(GPU_JOBS))


def jobs_to_run():
    """Without those that only gather files; none where no plan was made."""
    jobs = workflow.dag.needrun_jobs(exclude_finished=False) if workflow._dag else ()
    return [job for job in jobs if not job.is_norun]


def fork_jobs():
    """One import of the packages for the jobs of one thread on this machine's CPU.

    Not for a job or two, which are done sooner without; nor on a GPU, where it was never tried.
    """
    here = workflow.is_main_process and workflow.local_exec and not (GPU_JOBS or CONDA)
    if here and len(jobs_to_run()) > 2:
        with ends_in_one_line():
            fork_server.share(environment.cleaned(os.environ))


def say_estimate():
    jobs = jobs_to_run()
    cells = [cell_of(job.wildcards) for job in jobs if job.rule.name == "train"]
    pretrainings = [
        pretraining_of(job.wildcards) for job in jobs if job.rule.name == "pretrain"
    ]
    if is_quiet():
        counts = Counter(job.rule.name for job in jobs)
        if counts:
            names = listed(f"{n} {name}" for name, n in sorted(counts.items()))
            say(f"{SPEAKER}{counts.total()} jobs: {names}")
    elif cells or pretrainings:
        say(estimate.summary(ESTIMATES, cells, as_here(), pretrainings))


def is_quiet():
    """Whether Snakemake says nothing itself: with `--quiet`, but not in a plan or with `rules`."""
    return not workflow.dryrun and Quietness.ALL in (
        workflow.output_settings.quiet or ()
    )


def is_no_advice(record):
    """Snakemake ends a plan with the advice to go by the times of files, which overlooks changes."""
    return "--rerun-triggers mtime" not in record.getMessage()


def says_why_there_is_no_run(record):
    """`--quiet all` keeps a plan's errors back, too. Of a run's failed jobs the end tells."""
    if is_quiet() and record.levelno >= logging.ERROR:
        words = " ".join(record.getMessage().split())
        say(f"{SPEAKER}{words}")
    return True


logger.addFilter(is_no_advice)
logger.addFilter(says_why_there_is_no_run)
if workflow.is_main_process and not is_quiet():
    look_for_the_missing()


@atexit.register
def say_estimate_after_dryrun():
    if workflow.is_main_process and workflow.dryrun:  # no hook of Snakemake's runs then
        say_estimate()


onstart:
    hold()
    logger.removeFilter(says_why_there_is_no_run)
    begin_under_slurm()
    measure_forced_again()
    look_at_waiting_jobs_when_one_ends()
    say_estimate()
    fork_jobs()


onsuccess:
    root = Path("results", EXPERIMENT.experiment)
    if (root / "tables/accuracy.csv").exists():
        from lra.report.glance import glance  # no plan needs it

        with ends_in_one_line():
            print(f"\n{glance(root)}")
    end()


onerror:
    end()
