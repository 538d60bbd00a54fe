"""The table of sources: which module makes or reads each data set."""

from __future__ import annotations

import importlib

from lra.core.errors import LRAError, one_of
from lra.core.schema import checked
from lra.data.recipe import Dataset

# sources that need nothing; modules of src/lra/data/
GENERATORS = (
    *("listops", "pathfinder", "recall", "noisy_recall", "fuzzy_recall", "copying"),
    *("selective_copying", "needle", "markov", "addition", "sudoku"),
)
# tasks without labels: their tokens are what is predicted
OF_TOKENS = {
    *("bytes", "recall", "noisy_recall", "fuzzy_recall", "copy", "selective_copy", "needle"),
    *("markov", "addition", "addition_reversed", "sudoku"),
}
IMAGES = ("image", "pathfinder", "pathx")  # tasks
READERS = {  # sources that read an archive, and the module of each
    "imdb": "text",
    "kinds": "text",
    "mail": "mail",
    "aan": "retrieval",
    "kind_pairs": "retrieval",
    "enwik8_links": "enwik8",
    "enwik8_windows": "enwik8_windows",
    "cifar10": "image",
    "fashion": "image",
    "digits": "image",
    "lra_release": "lra_release",
}


def module_of(source: str) -> str:
    """The module of lra.data that makes or reads what has this source."""
    return READERS.get(source, source)


def check_source(name: str, dataset: Dataset) -> None:
    where = f"config/datasets.yaml: {name}"
    source = one_of(f"{where}.source", dataset.source, (*GENERATORS, *READERS))
    if source in READERS and dataset.archive is None:
        raise LRAError(f"{where}.archive: is missing; source '{source}' reads one")
    if source in GENERATORS and dataset.archive is not None:
        raise LRAError(f"{where}.archive: source '{source}' reads none; remove it")
    if dataset.contact_sheet and dataset.task not in IMAGES:
        raise LRAError(
            f"{where}.contact_sheet: shows images, and {dataset.task} has none; remove it"
        )
    module = importlib.import_module(f"lra.data.{module_of(source)}")
    options = module.READERS[source].options if source in READERS else module.Config
    settings = checked(options, dataset.options, f"{where}.options")
    longest = dataset.options.get("max_length", dataset.options.get("size", 0) ** 2)
    if source in GENERATORS:
        made = module.info(settings)
        longest = made.max_length
        if dataset.task in OF_TOKENS and made.task != dataset.task:
            raise LRAError(
                f"{where}.options: make examples of '{made.task}', and task is '{dataset.task}'"
            )
    if dataset.max_len < longest:
        raise LRAError(
            f"{where}.max_len: {dataset.max_len:,} tokens, but by options its examples have up to "
            f"{longest:,}, and would lose their tail"
        )
