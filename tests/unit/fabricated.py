"""Plausible results of an experiment that was never run."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lra.report import registry
from lra.report.tables.write import write
from lra.results.baselines import BaselineRow
from lra.results.points import MemoryRow, SpeedRow
from lra.results.records import HistoryRow, PredictionRow, ScoreRow, SpanRow, read_table, write_rows

REFERENCE = Path(__file__).parents[2] / "config" / "reference"
PAPER = REFERENCE / "scores.csv"
MODELS = ["transformer", "local", "sparse", "longformer", "linformer", "reformer", "sinkhorn"]
MODELS += ["synthesizer", "bigbird", "linear", "performer", "transformer-materialised"]
TASKS = {"listops": 17.0, "text": 50.0, "retrieval": 50.2, "image": 10.0, "pathfinder": 50.1}
TASKS["pathx"] = 50.0
THREE = ["transformer", "linear", "local"]
LOST = {("transformer", 4096): "oom", ("text", "local", 1): "diverged"}
LOST |= {("image", "linear", seed): "timeout" for seed in (0, 1)}
REACH = {"identity": 0, "conv": 2}  # tokens on either side that a layer mixes
QUADRATIC = {"transformer", "synthesizer", "transformer-materialised"}


def score_row(task="text", model="linear", seed=0, **changes) -> dict:
    row = {"experiment": "demo", "protocol": "official", "task": task, "model": model, "seed": seed}
    row |= {"mechanism": model, "dataset": task}
    row |= {"reach": REACH.get(model)}
    if model.startswith("near-"):  # as in config/reach.yaml
        row |= {"mechanism": "longformer", "reach": int(model.removeprefix("near-"))}
    row |= {"status": "ok", "accuracy": 60.0, "val_accuracy": 61.0, "loss": 0.7, "n_test": 2000}
    row |= {"chance": TASKS.get(task, 50.0), "params": 100_000, "steps": 500, "train_seconds": 60.0}
    row |= {
        "fingerprint": "f" * 16,
        "device": "cpu: demo",
        "torch_version": "2",
        "git_commit": None,
        "validation": "held out",
    }
    row |= changes
    return row | ({} if row["status"] == "ok" else {"accuracy": None, "loss": None})


def point_row(model: str, length: int) -> dict:
    row = {"experiment": "demo", "protocol": "official", "task": "text", "model": model}
    row |= {"setting": "fast", "length": length, "batch_size": 32, "precision": "float32"}
    row |= {"deterministic": False, "tf32": False, "masks": True, "device": "cpu: demo"}
    row |= {"sizes": "4 layers, 4 heads, dim 256, MLP 1024"}
    return row | {"torch_version": "2", "status": "ok"}


def speed_row(model="linear", length=1024, **changes) -> dict:
    row = point_row(model, length) | {"train_steps_per_s": 4.0}
    row |= {"infer_steps_per_s": 12.0, "tokens_per_s": 131072.0, "repeats": 5, "cpu_share": 1.0}
    rate = changes.get("train_steps_per_s") or 4.0
    row |= {"train_steps_per_s_low": 0.97 * rate, "train_steps_per_s_high": 1.05 * rate} | changes
    lost = ("train_steps_per_s", "infer_steps_per_s", "tokens_per_s", "repeats", "cpu_share")
    lost += ("train_steps_per_s_low", "train_steps_per_s_high")
    return row | ({} if row["status"] == "ok" else dict.fromkeys(lost))


def memory_row(model="linear", length=1024, **changes) -> dict:
    row = point_row(model, length) | {"peak_bytes": 400_000_000}
    row |= {"process_bytes": 900_000_000} | changes
    lost = ("peak_bytes", "process_bytes")
    return row | ({} if row["status"] == "ok" else dict.fromkeys(lost))


def span_row(task="text", model="linear", seed=0, layer=-1, **changes) -> dict:
    row = {"experiment": "demo", "task": task, "model": model, "seed": seed, "layer": layer}
    row |= {"method": "gradient", "samples": 1000, "span": 80.0, "relative": 0.8}
    row |= {"uniform": 100.0, "status": "ok"} | changes
    return row | ({} if row["status"] == "ok" else {"span": None, "relative": None})


def spans_of(folder: Path, rows: Iterable[dict]) -> None:
    """Write spans, and the scores of their cells."""
    write_rows(folder / "span.parquet", list(rows), SpanRow)
    cells = {(row["task"], row["model"], row["seed"]) for row in rows}
    write_rows(folder / "scores.parquet", [score_row(*cell) for cell in sorted(cells)], ScoreRow)


def baseline_row(task="text", kind="majority class", **changes) -> dict:
    row = {"experiment": "demo", "protocol": "official", "task": task, "dataset": task}
    row |= {"kind": kind, "status": "ok", "accuracy": 50.0, "val_accuracy": 51.0, "penalty": None}
    row |= {"n_train": 900, "n_train_split": 900, "n_test": 2000, "seconds": 2.0}
    row |= {"chance": TASKS.get(task, 50.0)} | changes
    lost = ("accuracy", "val_accuracy", "penalty", "n_train", "seconds")
    return row | ({} if row["status"] == "ok" else dict.fromkeys(lost))


def predictions(folder: Path, models: dict, labels: np.ndarray) -> None:
    """Write scores and answers on text: of each model a row a seed of which are right."""
    rows = []
    for model, rights in models.items():
        for seed, right in enumerate(rights):
            rows.append(score_row(model=model, seed=seed, accuracy=100 * float(right.mean())))
            answers = np.where(right, labels, 1 - labels)
            pairs = zip(labels.tolist(), answers.tolist(), strict=True)
            lines = [{"label": x, "prediction": y} for x, y in pairs]
            place = folder / "cells/text" / model / f"seed{seed}"
            place.mkdir(parents=True, exist_ok=True)
            write_rows(place / "predictions.parquet", lines, PredictionRow)
    write_rows(folder / "scores.parquet", rows, ScoreRow)


def experiment(
    folder: Path,
    models=tuple(MODELS),
    tasks=tuple(TASKS),
    seeds=(0, 1, 2),
    lengths=(1024, 2048, 3072, 4096),
    bad=(),
    protocol="official",
    joules=None,
) -> Path:
    """Write scores, history, span, speed and memory of an experiment into `folder`.

    `bad` names statuses: (task, model, seed) or (model, length) -> status. `joules` is the energy of
    the first model's trainings; those of the others are multiples of it.
    """
    bad = dict(bad)
    random = np.random.default_rng(0)
    scores, history, spans, speed, memory = [], [], [], [], []
    for m, model in enumerate(models):
        for task in tasks:
            chance = TASKS.get(task, 50.0)
            for seed in seeds:
                status = bad.get((task, model, seed), "ok")
                top = chance + (0.2 if task == "pathx" else 14 + 9 * math.sin(m * 2.3))
                top += random.normal() * 0.3
                row = score_row(task, model, seed, accuracy=top, status=status, protocol=protocol)
                row["chosen_step"] = 2000 if status == "ok" else None
                scores.append(row | {"energy_joules": joules and joules * (1 + m + 0.1 * seed)})
                for step in range(100, 401 if status != "ok" else 2001, 100):
                    reached = chance + (top - chance) * (1 - math.exp(-step / 600))
                    line = {"step": step, "learning_rate": 1e-3, "seconds": step / 10, "loss": 1.0}
                    line |= {"task": task, "model": model, "seed": seed}
                    line |= {"accuracy": reached + random.normal() * 0.6}
                    history += [line | {"split": "train"}, line | {"split": "val"}]
                even = (1 + list(TASKS).index(task)) * 300.0 if task in TASKS else 300.0
                reach = even * (0.05 + 0.9 * math.sin(m * 1.7) ** 2) * (1 + 0.05 * random.random())
                for method in (
                    ("attention", "gradient") if model == "transformer" else ("gradient",)
                ):
                    share = {"span": reach, "relative": reach / even, "uniform": even}
                    layers = (-1,) if status != "ok" else (0, 1, -1)
                    for layer in layers:
                        own = {"layer": layer, "method": method, "status": status}
                        spans.append(span_row(task, model, seed, **share, **own))
                    reach *= 0.8
        for length in lengths:
            status = bad.get((model, length), "ok")
            power = 2.0 if model in QUADRATIC else 1.05
            steps = (9 + 0.1 * m) * (1024 / length) ** power
            size = int((0.37 + 0.04 * m) * 1e9 * (length / 1024) ** power)
            speed.append(speed_row(model, length, train_steps_per_s=steps, status=status))
            memory.append(memory_row(model, length, peak_bytes=size, status=status))
    write_rows(folder / "scores.parquet", scores, ScoreRow)
    write_rows(folder / "history.parquet", history, HistoryRow)
    write_rows(folder / "span.parquet", spans, SpanRow)
    write_rows(folder / "speed.parquet", speed, SpeedRow)
    write_rows(folder / "memory.parquet", memory, MemoryRow)
    kinds = {"listops": "root operator", "text": "byte n-grams", "retrieval": "byte n-grams"}
    simple = []
    for task in tasks:
        for kind, more in (("majority class", 0), (kinds.get(task, "pixels"), 8)):
            reached = TASKS.get(task, 50.0) + more
            status = bad.get((task, kind), "ok")
            simple.append(
                baseline_row(task, kind, protocol=protocol, accuracy=reached, status=status)
            )
    write_rows(folder / "baselines.parquet", simple, BaselineRow)
    return folder


def answers(folder: Path) -> None:
    """Write what the cells of an experiment in `folder` answered, as often right as they score."""
    for row in read_table(folder / "scores.parquet", ScoreRow).to_pylist():
        if row["status"] != "ok":
            continue
        random = np.random.default_rng([row["seed"], *row["model"].encode()])
        right = random.random(row["n_test"]) < row["accuracy"] / 100
        pairs = [{"label": i % 2, "prediction": (i + wrong) % 2} for i, wrong in enumerate(~right)]
        cell = folder / "cells" / row["task"] / row["model"] / f"seed{row['seed']}"
        write_rows(cell / "predictions.parquet", pairs, PredictionRow)


def table(name: str, root: Path, reference: Path = PAPER) -> tuple[list[dict], str]:
    """Write a table of the experiment in `root`: the lines of its csv, and its Markdown."""
    stem = root / name
    if not (root / "baselines.parquet").exists():
        write_rows(root / "baselines.parquet", [], BaselineRow)
    write(registry.table(name), root, stem, reference)
    with stem.with_suffix(".csv").open() as file:
        return list(csv.DictReader(file)), stem.with_suffix(".md").read_text()
