# What jobs ask of a cluster (config/site.yaml); nothing here is a param, so nothing reruns by it.
from lra.config.schema import Site, load
from lra.planning import resources, slurm

try:
    SITE = load(ROOT / "config/site.yaml", Site, ROOT)
except LRAError as error:
    raise SystemExit(f"lra: {error}")


def under_slurm():
    return (
        workflow.executor_plugin is not None
        and workflow.executor_plugin.name.startswith("slurm")
    )


def by_gres():
    return SITE.gpu == "gres" and under_slurm()


def gpus(wildcards):
    return 0 if EXPERIMENT.device == "cpu" or by_gres() else 1


def gres(wildcards):
    return resources.gres(SITE) if EXPERIMENT.device != "cpu" and by_gres() else ""


def profile_extra(wildcards):
    """A profile needs its device alone: the GPU by its lock, or on a CPU the whole node."""
    return "--exclusive" if EXPERIMENT.device == "cpu" else ""


def cell_of(wildcards):
    return resolved(wildcards.task, wildcards.model, int(wildcards.seed))[0]


def cell_memory(wildcards, attempt):
    return resources.memory_mb(cell_of(wildcards), ESTIMATES, attempt, SITE)


def one_seed(share):
    """What one seed's job may ask for: where seeds are together, the limits of all add up to one."""
    if not SITE.seeds_together:
        return SITE
    hours = share * SITE.max_hours / len(SEEDS)
    return SITE.model_copy(update={"max_hours": hours})


def train_runtime(wildcards, attempt):
    return resources.train_minutes(
        cell_of(wildcards), ESTIMATES, attempt, one_seed(0.8)
    )


def evaluate_runtime(wildcards, attempt):
    cell = cell_of(wildcards)
    examples = arena.dataset(cell.dataset).test
    return resources.scoring_minutes(cell, ESTIMATES, attempt, one_seed(0.2), examples)


def span_runtime(wildcards, attempt):
    passes = EXPERIMENT.span.samples * (1 + EXPERIMENT.span.queries)
    return resources.scoring_minutes(
        cell_of(wildcards), ESTIMATES, attempt, SITE, passes
    )


def profile_runtime(wildcards, attempt):
    """All points of a model are one job, whose limit is their sum."""
    points = 2 * len(LENGTHS)
    return resources.capped_minutes(
        min(30 * attempt, 60 * SITE.max_hours / points), SITE
    )


def minutes(wanted):
    """A fixed time limit, longer at each attempt."""

    def runtime(wildcards, attempt):
        return resources.capped_minutes(attempt * wanted, SITE)

    return runtime


def megabytes(wanted):
    """Fixed memory, more at each attempt."""

    def memory(wildcards, attempt):
        return resources.capped_mb(attempt * wanted, SITE)

    return memory


CPU_NODE = resources.node(SITE, gpu=False)
GPU_NODE = resources.node(SITE, gpu=EXPERIMENT.device != "cpu")
if EXPERIMENT.device != "cpu":
    GPU_NODE["gres"] = gres
    if SITE.gpu_type and SITE.gpu == "gpus":
        GPU_NODE["gpu_model"] = SITE.gpu_type
GPU_NODE["turn"] = 1  # limited by profiles/slurm alone
GPU_NODE["gpu"] = gpus
CELL_JOB = {**GPU_NODE, "mem_mb": cell_memory, "cpus_per_task": EXPERIMENT.threads}
SMALL_JOB = {**CPU_NODE, "mem_mb": megabytes(1000), "runtime": minutes(10)}
SEEDS_TOGETHER = "seeds-{task}-{model}" if SITE.seeds_together else None
# to the job's steps: `--signal=B:` would reach only the shell around snakemake
EARLY = f"--signal=USR1@{SITE.early_seconds}" if SITE.early_seconds else ""
# a Slurm job has one such option, also for seeds of which some are to be scored only
EARLY_TOGETHER = EARLY if SITE.seeds_together else ""


def begin_under_slurm():
    """Which executor there is, is known only once a run starts."""
    if under_slurm() and workflow.is_main_process:
        settings = workflow.remote_execution_settings
        slurm.poll_every(settings.seconds_between_status_checks)
        try:
            slurm.cancel_orphans(Path.cwd(), print_error)
        except LRAError as error:
            raise SystemExit(f"lra: {error}")


def print_error(line):
    print(line, file=sys.stderr)
