# The experiment, checked, and what the rules need of it.
import functools
import json
import os
import re
from itertools import product

from lra.archive.source import state as commit_and_changes
from lra.config import protocol_source
from lra.config.resolve import Arena
from lra.core import environment, fork_server
from lra.core.errors import SPEAKER, LRAError, ends_in_one_line
from lra.core.progress import say
from lra.data.sources import GENERATORS, READERS, module_of
from lra.planning import left_out
from lra.report import registry
from lra.results import fingerprint, layout
from lra.training.attempts import allow_attempts, is_last

with ends_in_one_line():
    environment.check_checkout({environment.CHECKOUT: str(ROOT)})
    environment.check_folders(ROOT, Path("results"), Path(layout.DATA))
    typed = workflow.config_settings.config_args or ()
    arena = Arena.open(config, workflow.configfiles, ROOT, typed=typed)

EXPERIMENT = arena.experiment
TASKS, MODELS, SEEDS = EXPERIMENT.tasks, EXPERIMENT.trained, EXPERIMENT.seeds
SPANNED, GENERATING = arena.span_models(), arena.generating_models()
PROFILED, LENGTHS = list(arena.profile_rows()), EXPERIMENT.profile.lengths
DECODED = {model: arena.decode_points(model) for model in arena.decode_models()}
DATASETS = arena.datasets()
GENERATED = [n for n in arena.all_datasets if arena.dataset(n).source in GENERATORS]
PREPARED = [n for n in arena.all_datasets if n not in GENERATED]
TOKENS = arena.predicts_tokens
COLLECTED = registry.collected(TOKENS, bool(DECODED))
SHOWN = registry.shown(TOKENS, bool(DECODED))
TABLES, FIGURES = ([item.name for item in items] for items in SHOWN)
# A run may stand elsewhere (snakemake --directory); its inputs from the checkout are then named from
# there.
HERE = Path(os.path.relpath(ROOT.resolve()))
PUBLISHED = HERE / "config/reference"
REFERENCE = str(PUBLISHED / protocol_source.accuracies(EXPERIMENT.protocol))
SOURCES = [
    str(protocol_source.path(PUBLISHED, name))
    for name in arena.protocols
    if protocol_source.path(PUBLISHED, name).exists()
]


wildcard_constraints:
    experiment=re.escape(EXPERIMENT.experiment),
    dataset=r"[^/]+",
    task=r"[^/]+",
    model=r"[^/]+",
    seed=r"\d+",


# Rules ask several times for each cell.
resolved = functools.cache(arena.resolve)
# The code that a plan was made with; jobs stop where theirs is no longer the same.
stage_code = functools.cache(fingerprint.stage)


def every_core(wildcards):
    """Nothing runs beside a profile."""
    return workflow.cores or 1


def is_last_attempt(wildcards, attempt):
    """1 or 0. A resource and not a param, so that another attempt is no reason to run again.

    Slurm marks a job as failed after any OOM kill inside it, even where the job then ends well. So
    the last attempt but one is the last that trains; the last attempt collects its result.
    """
    if workflow.is_main_process:
        retries = workflow.execution_settings.retries
        allow_attempts(max(1, retries if under_slurm() else 1 + retries))
    return int(is_last(attempt))


def data_folder(wildcards):
    return f"{layout.DATA}/{arena.dataset_name(wildcards.task)}"


def splits_of(*names):
    """The splits and their checksums. Only the checksums trigger reruns, so that making the same
    bytes again retrains nothing."""

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


def pretraining_of(wildcards):
    """The pretraining of a cell, None where it has none."""
    cell, _ = resolved(wildcards.task, wildcards.model, int(wildcards.seed))
    return cell.pretraining_cell


def pretraining_json(wildcards):
    """What it depends on alone: not the cell's training, nor its head."""
    return pretraining_of(wildcards).model_dump_json()


def pretrained(*patterns):
    """These files of a cell's pretraining, none where it has none."""

    def paths(wildcards):
        return [written(each) for each in patterns] if pretraining_of(wildcards) else []

    return paths


def pretrained_option(wildcards):
    if not pretraining_of(wildcards):
        return ""
    task, model, seed = wildcards.task, wildcards.model, wildcards.seed
    (folder,) = in_results(layout.PRETRAINED, task=task, model=model, seed=seed)
    return f"--pretrained {folder}"


def task_json(wildcards):
    """Which task its baselines are of: a `TaskName`."""
    return json.dumps(arena.task_name(wildcards.task))


def points_json(wildcards):
    points = (arena.profile_point(wildcards.model, length) for length in LENGTHS)
    return [point.model_dump_json() for point in points]


def decode_lengths(what):
    """Contexts to decode after, or lengths to train at."""
    if not DECODED:
        return [0]  # a rule has outputs, also where no model asks for them
    points = next(iter(DECODED.values()))
    return [point.length for point in points if point.what == what]


def decode_json(wildcards):
    return [point.model_dump_json() for point in DECODED[wildcards.model]]


def decode_code(wildcards):
    return stage_code("decode", DECODED[wildcards.model][0].encoder.attention)


def code_of(stage):
    """The code of a stage with the cell's mechanism; tokens have code of their own."""
    name = f"{stage}_tokens" if TOKENS and stage in ("train", "evaluate") else stage

    def code(wildcards):
        return stage_code(name, mechanism_of(wildcards.model))

    return code


def generation_code(wildcards):
    return fingerprint.of_generation(
        cell_of(wildcards),
        module_of(arena.dataset(arena.dataset_name(wildcards.task)).source),
    )


def generation_options():
    """Of `lra generate-tokens`; none where nothing is generated."""
    if not EXPERIMENT.generate:
        return ""
    asked = EXPERIMENT.generate.model_dump()
    values = [("--examples", asked["examples"]), ("--batch-size", asked["batch_size"])]
    values += [("--steps", steps) for steps in asked["steps"]]
    values += [("--block", block) for block in asked["blocks"]]
    return " ".join(f"{option} {value}" for option, value in values)


def profile_code(wildcards):
    point = arena.profile_point(wildcards.model, LENGTHS[0])
    return stage_code("profile", point.encoder.attention)


def what_ran(wildcards):
    """The commit and its changes, so that a change makes a new archive."""
    with ends_in_one_line():
        if HERE != Path():
            raise LRAError(
                f"archive: an archive holds the checkout, so run snakemake in {ROOT.resolve()}; "
                "results may be a link"
            )
        return commit_and_changes(ROOT)


def one_of_names(names):
    """A pattern that matches these and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def archive_of(wildcards):
    """Kept when it is older or newer than the data set: its checksum is a param."""
    return ancient(
        f"{layout.DOWNLOADS}/{arena.dataset(wildcards.dataset).archive.file}"
    )


def archive_json(wildcards):
    return arena.archive(wildcards.file).model_dump_json()


def reader_code(wildcards):
    return stage_code("prepare", READERS[arena.dataset(wildcards.dataset).source])


def dataset_json(wildcards):
    return arena.dataset(wildcards.dataset).recipe().model_dump_json()


def generator_code(wildcards):
    return stage_code("generate", arena.dataset(wildcards.dataset).source)


def written(pattern):
    """A path of layout.py as rules have it, with wildcards."""
    return layout.RESULTS + pattern


TRAINED = {  # what scoring and measuring read of a trained cell
    "config": written(layout.CONFIG),
    "checkpoint": written(layout.CHECKPOINT),
    "record": written(layout.TRAIN_RECORD),
}


def in_results(pattern, **values):
    """The files of this experiment that match a path of layout.py."""
    return expand(written(pattern), experiment=EXPERIMENT.experiment, **values)


def every_cell(pattern, models=MODELS):
    return in_results(pattern, task=TASKS, model=models, seed=SEEDS)


def every_pretraining(pattern):
    """The files of a path of layout.py of all cells that are pretrained."""
    return [
        in_results(pattern, task=task, model=model, seed=seed)[0]
        for task, model, seed in product(TASKS, MODELS, SEEDS)
        if resolved(task, model, seed)[0].pretraining
    ]


POINTS = {  # Parquet tables of points: their models and lengths
    **dict.fromkeys(("speed", "memory"), (PROFILED, LENGTHS)),
    **{w: (list(DECODED), decode_lengths(w)) for w in ("decode", "directions")},
}
MEASURED = {"span": SPANNED, "generate": GENERATING}  # the models of others; or all


def every_point(what):
    models, lengths = POINTS[what]
    return in_results(layout.POINT_RECORD, what=what, model=models, length=lengths)


def records():
    """What was measured, and the Parquet tables of it."""
    of_cells = [
        layout.CONFIG,
        layout.HISTORY,
        layout.TRAIN_RECORD,
        layout.SCORE_RECORD,
        layout.PREDICTIONS,
    ]
    of_pretrainings = [
        layout.PRETRAINED_CONFIG,
        layout.PRETRAINED_HISTORY,
        layout.PRETRAIN_RECORD,
    ]
    return [
        *(path for pattern in of_cells for path in every_cell(pattern)),
        *(path for pattern in of_pretrainings for path in every_pretraining(pattern)),
        *every_cell(layout.SPAN_RECORD, SPANNED),
        *every_cell(layout.GENERATION_RECORD, GENERATING),
        *(path for what in POINTS for path in every_point(what)),
        *in_results(layout.BASELINE_RECORD, task=TASKS),
        *in_results(layout.PARQUET, what=COLLECTED),
    ]


def records_of(wildcards):
    """What one Parquet table is collected from, once it is sure that no row gets lost."""
    what, models = wildcards.what, MEASURED.get(wildcards.what, MODELS)
    rows = {"baselines": [TASKS], **POINTS}
    table = Path(in_results(layout.PARQUET, what=what)[0])
    with ends_in_one_line():
        left_out.refuse_fewer(table, product(*rows.get(what, [TASKS, models, SEEDS])))
    if what in POINTS:
        return every_point(what)
    if what == "baselines":
        return in_results(layout.BASELINE_RECORD, task=TASKS)
    patterns = {
        "scores": [layout.TRAIN_RECORD, layout.SCORE_RECORD],
        "history": [layout.HISTORY],
        "parts": [layout.SCORE_RECORD],
        "span": [layout.SPAN_RECORD],
        "generate": [layout.GENERATION_RECORD],
    }[what]
    if what == "scores" and TOKENS:
        patterns += [layout.HISTORY]
    return [path for pattern in patterns for path in every_cell(pattern, models)]


def collected_models(wildcards):
    of_cells = MEASURED.get(wildcards.what, MODELS)
    return ",".join(POINTS.get(wildcards.what, (of_cells,))[0])


def collected_lengths(wildcards):
    lengths = POINTS.get(wildcards.what, (None, LENGTHS))[1]
    return ",".join(map(str, lengths))


def inputs_of(find):
    """The files behind what a table or figure of the registry reads."""

    def files(wildcards):
        _, name = wildcards  # the experiment, and the table or figure
        item = find(name)
        known = {what: in_results(layout.PARQUET, what=what) for what in COLLECTED}
        known["reference"] = [REFERENCE, str(PUBLISHED / "remarks.csv"), *SOURCES]
        known["efficiency"] = [
            str(PUBLISHED / f"{n}.csv") for n in ("efficiency", "remarks")
        ]
        known["data"] = expand(f"{layout.DATASET}/dataset.json", dataset=DATASETS)
        if "cells" in item.reads:
            known["cells"] = every_cell(layout.PREDICTIONS)
        return [file for name in item.reads for file in known[name]]

    return files


def code_of_item(stage, find):
    """The code behind a table or figure, and its line of the registry: a title is shown, too."""

    def code(wildcards):
        _, name = wildcards  # the experiment, and the table or figure
        item = find(name)
        return f"{stage_code(stage, item.module)} {item!a}"

    return code


def same_configuration():
    """The arguments by which another snakemake has the same experiment."""
    files = [os.path.relpath(file) for file in workflow.overwrite_configfiles]
    values = list(workflow.config_settings.config_args or ())
    return shlex.join(
        (["--snakefile", str(HERE / "Snakefile")] if HERE != Path() else [])
        + (["--configfile", *files] if files else [])
        + (["--config", *values] if values else [])
    )
