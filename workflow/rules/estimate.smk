# What the cells still to train will cost: said after a dry-run and before a run, on stderr.
import atexit

from lra.planning import estimate

try:
    ESTIMATES = estimate.Estimates(
        arena, estimate.read_cache(ROOT / estimate.CACHE), Path("results")
    )
except LRAError as error:
    raise SystemExit(f"lra: {error}")


def say_estimate():
    jobs = workflow.dag.needrun_jobs(exclude_finished=False) if workflow._dag else ()
    trained = {tuple(job.wildcards) for job in jobs if job.rule.name == "train"}
    cells = [
        resolved(task, model, seed)[0]
        for task in TASKS
        for model in MODELS
        for seed in SEEDS
        if (EXPERIMENT.experiment, task, model, str(seed)) in trained
    ]
    if cells and not workflow.output_settings.quiet:
        print(estimate.summary(ESTIMATES, cells), file=sys.stderr)


@atexit.register
def say_estimate_after_dryrun():
    if workflow.is_main_process and workflow.dryrun:  # no hook of Snakemake's runs then
        say_estimate()
