# The experiment, checked, and what rules ask of it.
import functools
import os
import re

from lra import fingerprint
from lra.archive.source import state as commit_and_changes
from lra.attempts import allow_attempts, is_last
from lra.errors import LRAError
from lra.resolve import GENERATORS, READERS, Arena

try:
    arena = Arena.open(config, workflow.configfiles, ROOT)
except LRAError as error:
    raise SystemExit(f"lra: {error}")

EXPERIMENT = arena.experiment
TASKS, MODELS, SEEDS = EXPERIMENT.tasks, EXPERIMENT.models, EXPERIMENT.seeds
SPANNED = arena.span_models()
PROFILED, LENGTHS = list(arena.profile_models()), EXPERIMENT.profile.lengths
DATASETS = arena.datasets()
GENERATED = [
    name for name in arena.all_datasets if arena.dataset(name).source in GENERATORS
]
PREPARED = [name for name in arena.all_datasets if name not in GENERATED]
PUBLISHED_SCORES = f"config/reference/{'standard' if EXPERIMENT.protocol == 'standard' else 'scores'}.csv"
TABLES = [
    "accuracy",
    "significance",
    "efficiency",
    "costs",
    "training",
    "span",
    "shortcomings",
]
# A data set of another name than the task's own or a published one of it is a variant of ours.
OWN_TASKS = [
    task
    for task in TASKS
    if arena.dataset_name(task) not in {task, f"{task}-official", f"{task}-release"}
]
FIGURES = {  # each figure's tables
    "performance": ["scores", "speed", "memory"],
    "speed": ["speed"],
    "memory": ["memory"],
    "learning_curves": ["history", "scores"],
    "span": ["span"],
    "scores": ["scores"],
    "difference": ["scores", "reference"],  # published figures
    "ranks": ["scores"],
    "energy": ["scores"],
}


wildcard_constraints:
    experiment=re.escape(EXPERIMENT.experiment),
    dataset=r"[^/]+",
    task=r"[^/]+",
    model=r"[^/]+",
    seed=r"\d+",
    length=r"\d+",


# Rules ask several times for each cell.
resolved = functools.cache(arena.resolve)
# The code that a plan was made with; jobs stop where theirs is no longer the same.
stage_code = functools.cache(fingerprint.stage)


def every_core(wildcards):
    """Nothing runs beside a profile."""
    return workflow.cores or 1


def is_last_attempt(wildcards, attempt):
    """A resource and no param: another attempt is no reason to run again. 1 or 0.

    Slurm fails a job in which the kernel has killed something for lack of memory, even where the
    job then ends well. So the last attempt to train is the last but one of all: what it has found,
    the last takes.
    """
    if workflow.is_main_process:
        retries = workflow.execution_settings.retries
        allow_attempts(max(1, retries if under_slurm() else 1 + retries))
    return int(is_last(attempt))


def data_folder(wildcards):
    return f"results/data/{arena.dataset_name(wildcards.task)}"


def splits_of(*names):
    """Large files are compared by time, so a data set's checksums stand for its splits: making the
    same bytes again trains nothing again, other bytes do."""

    def paths(wildcards):
        folder = data_folder(wildcards)
        return [ancient(f"{folder}/{name}.arrow") for name in names] + [
            f"{folder}/dataset.json"
        ]

    return paths


def mechanism_of(model):
    return resolved(TASKS[0], model, SEEDS[0])[0].encoder.attention


def cell_json(wildcards):
    cell, _ = resolved(wildcards.task, wildcards.model, int(wildcards.seed))
    return cell.model_dump_json()


def point_json(wildcards):
    return arena.profile_point(wildcards.model, int(wildcards.length)).model_dump_json()


def train_code(wildcards):
    return stage_code("train", mechanism_of(wildcards.model))


def evaluate_code(wildcards):
    return stage_code("evaluate", mechanism_of(wildcards.model))


def span_code(wildcards):
    return stage_code("span", mechanism_of(wildcards.model))


def profile_code(wildcards):
    point = arena.profile_point(wildcards.model, int(wildcards.length))
    return stage_code("profile", point.encoder.attention)


def shortcomings_code():
    """With the mechanisms, which it asks for their family by name."""
    mechanisms = {f"lra.attention.{mechanism_of(model)}" for model in MODELS}
    return fingerprint.fingerprint("lra.tables.shortcomings", *sorted(mechanisms))


def what_ran(wildcards):
    """The commit and its changes: with others it is another archive."""
    try:
        return commit_and_changes(ROOT)
    except LRAError as error:
        raise SystemExit(f"lra: {error}")


def one_of_names(names):
    """A pattern that matches these and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def archive_of(wildcards):
    """Kept when it is older or newer than the data set: its checksum is a param."""
    return ancient(
        f"results/data/downloads/{arena.dataset(wildcards.dataset).archive.file}"
    )


def archive_json(wildcards):
    return arena.archive(wildcards.file).model_dump_json()


def reader_code(wildcards):
    return fingerprint.reader(READERS[arena.dataset(wildcards.dataset).source])


def dataset_json(wildcards):
    return arena.dataset(wildcards.dataset).recipe().model_dump_json()


def generator_code(wildcards):
    return fingerprint.generator(arena.dataset(wildcards.dataset).source)


def in_results(pattern, **values):
    """The files of this experiment that match a pattern below its folder."""
    return expand(f"results/{EXPERIMENT.experiment}/{pattern}", **values)


def every_cell(file):
    return in_results(
        f"cells/{{task}}/{{model}}/seed{{seed}}/{file}",
        task=TASKS,
        model=MODELS,
        seed=SEEDS,
    )


def every_span():
    return in_results(
        "span/{task}/{model}/seed{seed}.json", task=TASKS, model=SPANNED, seed=SEEDS
    )


def every_point(what):
    return in_results(
        f"profile/{what}/{{model}}/{{length}}.json", model=PROFILED, length=LENGTHS
    )


def points_of(wildcards):
    return every_point(wildcards.what)


def same_configuration():
    """The arguments by which another snakemake has the same experiment."""
    files = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
    values = list(workflow.config_settings.config_args or ())
    return shlex.join(
        (["--configfile", *files] if files else [])
        + (["--config", *values] if values else [])
    )


def tables_of(wildcards):
    return [
        (
            PUBLISHED_SCORES
            if table == "reference"
            else f"results/{EXPERIMENT.experiment}/{table}.parquet"
        )
        for table in FIGURES[wildcards.figure]
    ]
