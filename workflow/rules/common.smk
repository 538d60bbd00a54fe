# The experiment, checked, and what rules ask of it.
import json

from lra import fingerprint
from lra.errors import LRAError
from lra.resolve import Arena

try:
    arena = Arena.open(config, workflow.configfiles, ROOT)
except LRAError as error:
    raise SystemExit(f"lra: {error}")

EXPERIMENT = arena.experiment
OUT = f"results/{EXPERIMENT.experiment}"
CELL = OUT + "/cells/{task}/{model}/seed{seed}"
LOGS = OUT + "/logs"
BENCHMARKS = OUT + "/benchmarks"
TASKS, MODELS, SEEDS = EXPERIMENT.tasks, EXPERIMENT.models, EXPERIMENT.seeds
PROFILED, LENGTHS = list(arena.profile_models()), EXPERIMENT.profile.lengths
DATASETS = arena.datasets()


wildcard_constraints:
    dataset=r"[^/]+",
    task=r"[^/]+",
    model=r"[^/]+",
    seed=r"\d+",
    length=r"\d+",
    split="train|val|test",


def every_core(wildcards):
    """Nothing runs beside a profile."""
    return workflow.cores or 1


def data_folder(wildcards):
    return f"results/data/{arena.dataset_name(wildcards.task)}"


def splits_of(*names):
    """Large files are compared by time, so a data set's checksums stand for its splits: making the
    same bytes again trains nothing again, other bytes do."""

    def paths(wildcards):
        folder = data_folder(wildcards)
        return [ancient(f"{folder}/{name}.arrow") for name in names] + [f"{folder}/dataset.json"]

    return paths


def mechanism_of(model):
    return arena.resolve(TASKS[0], model, SEEDS[0])[0].encoder.attention


def cell_json(wildcards):
    cell, _ = arena.resolve(wildcards.task, wildcards.model, int(wildcards.seed))
    return cell.model_dump_json()


def point_json(wildcards):
    return arena.profile_point(wildcards.model, int(wildcards.length)).model_dump_json()


def train_code(wildcards):
    return fingerprint.stage("train", mechanism_of(wildcards.model))


def evaluate_code(wildcards):
    return fingerprint.stage("evaluate", mechanism_of(wildcards.model))


def profile_code(wildcards):
    point = arena.profile_point(wildcards.model, int(wildcards.length))
    return fingerprint.stage("profile", point.encoder.attention)


def dataset_json(wildcards):
    return arena.dataset(wildcards.dataset).model_dump_json()


def generator_code(wildcards):
    return fingerprint.generator(arena.dataset(wildcards.dataset).generator)


def every_cell(file):
    return expand(CELL + "/" + file, task=TASKS, model=MODELS, seed=SEEDS)


def every_point(what):
    return expand(OUT + "/profile/{what}/{model}/{length}.json", what=what, model=PROFILED, length=LENGTHS)
