# What jobs ask of a cluster (config/site.yaml); nothing here is a param, so nothing reruns by it.
from lra.config.schema import Site, load
from lra.hardware import gpu_lock
from lra.planning import estimate, resources, slurm

with ends_in_one_line():
    SITE = load(ROOT / "config/site.yaml", Site, ROOT)
    ESTIMATES = estimate.Estimates(
        arena, estimate.read_cache(ROOT / estimate.CACHE), Path("results")
    )


def under_slurm():
    return (
        workflow.executor_plugin is not None
        and workflow.executor_plugin.name.startswith("slurm")
    )


def by_gres():
    return SITE.gpu == "gres" and under_slurm()


def gpus(wildcards):
    """A whole GPU; here it is counted by the trainings that it may hold."""
    if EXPERIMENT.device == "cpu" or by_gres():
        return 0
    return 1 if under_slurm() else SITE.gpu_share


def gpu_share(wildcards):
    """How many jobs such as this cell's may hold one GPU; under Slurm a job has its own."""
    if EXPERIMENT.device == "cpu" or under_slurm():
        return 1
    return resources.gpu_share(cell_of(wildcards), ESTIMATES, SITE)


def cell_gpus(wildcards):
    return gpus(wildcards) // gpu_share(wildcards)


def gres(wildcards):
    return resources.gres(SITE) if EXPERIMENT.device != "cpu" and by_gres() else ""


def profile_extra(wildcards):
    """A profile needs its device alone: the GPU by its lock, or on a CPU the whole node."""
    return "--exclusive" if EXPERIMENT.device == "cpu" else ""


def cell_of(wildcards):
    return resolved(wildcards.task, wildcards.model, int(wildcards.seed))[0]


requests = resources.Requests(ESTIMATES, SITE, cell_of)
minutes, megabytes = requests.minutes, requests.megabytes
CPU_NODE = resources.node(SITE, gpu=False)
GPU_NODE = resources.node(SITE, gpu=EXPERIMENT.device != "cpu")
if EXPERIMENT.device != "cpu":
    GPU_NODE["gres"] = gres
    if SITE.gpu_type and SITE.gpu == "gpus":
        GPU_NODE["gpu_model"] = SITE.gpu_type
GPU_NODE["turn"] = 1  # limited by profiles/slurm alone
GPU_NODE["gpu"] = gpus
CELL_JOB = {
    **GPU_NODE,
    "gpu": cell_gpus,
    "gpu_share": gpu_share,
    "mem_mb": requests.memory,
    "cpus_per_task": EXPERIMENT.threads,
}
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
        with ends_in_one_line():
            slurm.cancel_orphans(Path.cwd(), say)


# As many GPU jobs at once as this machine's GPUs may hold; each job then takes a free one by a lock.
GPU_JOBS = 0 if EXPERIMENT.device == "cpu" else SITE.gpu_share * len(gpu_lock.devices())
if GPU_JOBS and workflow.local_exec and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", GPU_JOBS)
