"""Every path that an experiment writes, once: rules use the patterns, Python fills them in.

Patterns are relative to results/<experiment>/ and hold Snakemake's wildcards, which `str.format`
fills as well. In rules `written("...")` puts the experiment's folder before them.
"""

from __future__ import annotations

RESULTS = "results/{experiment}/"
NAME = "{task}/{model}/seed{seed}"  # of a cell

# files in the folder of a cell, and but for scores of its pretraining
CONFIG_FILE, CHECKPOINT_FILE = "config.yaml", "checkpoint.safetensors"
HISTORY_FILE, TRAIN_FILE, PRETRAIN_FILE = "history.parquet", "train.json", "pretrain.json"
RECORD_FILES = {"train": TRAIN_FILE, "pretrain": PRETRAIN_FILE}  # by `Cell.stage`
SCORE_FILE, PREDICTIONS_FILE = "score.json", "predictions.parquet"
ATTEMPT_FILE = "attempt.json"  # in the folder of unfinished work, while the training runs

CELL = f"cells/{NAME}"
CONFIG = f"{CELL}/{CONFIG_FILE}"
CHECKPOINT = f"{CELL}/{CHECKPOINT_FILE}"
HISTORY = f"{CELL}/{HISTORY_FILE}"
TRAIN_RECORD = f"{CELL}/{TRAIN_FILE}"
SCORE_RECORD = f"{CELL}/{SCORE_FILE}"
PREDICTIONS = f"{CELL}/{PREDICTIONS_FILE}"
SPAN_RECORD = f"span/{NAME}.json"
GENERATION_RECORD = f"generate/{NAME}.json"
BASELINE_RECORD = "baselines/{task}.json"
WORK = f"work/{NAME}"  # unfinished training
PRETRAINED = f"pretrained/{NAME}"
PRETRAINED_CONFIG = f"{PRETRAINED}/{CONFIG_FILE}"
PRETRAINED_CHECKPOINT = f"{PRETRAINED}/{CHECKPOINT_FILE}"
PRETRAINED_HISTORY = f"{PRETRAINED}/{HISTORY_FILE}"
PRETRAIN_RECORD = f"{PRETRAINED}/{PRETRAIN_FILE}"
PRETRAIN_WORK = f"work/pretrained/{NAME}"
POINT_RECORD = "profile/{what}/{model}/{length}.json"  # what: of points.py; model: a row

PARQUET = "{what}.parquet"  # of lra.report.item.PARQUET
TABLE = "tables/{table}"  # .csv, .md, .tex, .html
FIGURE = "figures/{figure}"  # .svg, .png, .pdf
PAGE = "page.html"
REPORT = "report.html"
ARCHIVE = "archive/{experiment}.zip"

DATA = "results/data"
DATASET = f"{DATA}/{{dataset}}"
DOWNLOADS = f"{DATA}/downloads"


def log(stage: str, name: str = "") -> str:
    """The log of one job of a stage; `name` tells its jobs apart (`NAME`)."""
    return f"logs/{stage}/{name}.log" if name else f"logs/{stage}.log"
