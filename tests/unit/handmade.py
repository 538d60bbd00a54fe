"""An experiment of one cell whose results were never run, in a git checkout: small and at once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import yaml
from test_collect import write_cell

from checkout import DATASETS, EXPERIMENT, commit_all
from lra.archive import jobs
from lra.archive.jobs import Job
from lra.archive.redact import Private
from lra.archive.write import archive
from lra.config.cell import to_yaml
from lra.config.schema import Experiment
from lra.core.files import sha256
from lra.results.records import PredictionRow, write_rows
from tiny import make_cell

CELL = "results/demo/cells/listops/linear/seed1"
NAMES = {"protocol": "tiny", "dataset": "listops-tiny"}
DATA = "results/data/listops-tiny"
TABLE = "results/demo/tables/accuracy.md"
HOME = "/data/alice"  # whose it is
TIME = 1.7e9


class Handmade:
    """A checkout, what may be done with it, and its archive."""

    def __init__(self, root: Path) -> None:
        self.root, self.jobs = root, []
        self.write("Snakefile", "rule all:\n")
        self.write("config/datasets.yaml", yaml.safe_dump(DATASETS))
        self.write(".gitignore", "results/\n.snakemake/\n")
        commit_all(root)
        splits = {}
        for name, rows in (("train", 400), ("val", 100), ("test", 4)):
            self.write(f"{DATA}/{name}.arrow", name)
            splits[name] = {"rows": rows, "sha256": hashlib.sha256(name.encode()).hexdigest()}
        self.write(f"{DATA}/dataset.json", json.dumps({"info": {}, "splits": splits}))
        folder = root / CELL
        score = NAMES | {"accuracy": 75.0, "chance": 75.0, "n_test": 4}
        write_cell(root / "results/demo", "listops", "linear", 1, train=NAMES, score=score)
        cell = make_cell(experiment="demo", model="linear", dataset="listops-tiny")
        self.write(f"{CELL}/config.yaml", to_yaml(cell))
        self.write(f"{CELL}/checkpoint.safetensors", "weights")
        rows = [{"label": 1, "prediction": 1}] * 3 + [{"label": 0, "prediction": 1}]
        write_rows(folder / "predictions.parquet", rows, PredictionRow)
        self.write(TABLE, "| linear | 75.0 |\n")
        splits = [f"{DATA}/{name}.arrow" for name in ("test", "train", "val")]
        trained = ["checkpoint.safetensors", "config.yaml", "history.parquet", "train.json"]
        trained = [f"{CELL}/{name}" for name in trained]
        scored = [f"{CELL}/{name}" for name in ("predictions.parquet", "score.json")]
        self.job("generate", [], [f"{DATA}/dataset.json", *splits], f"{DATA}/generate.log", "x")
        self.job(
            "train", [f"{DATA}/dataset.json"], trained, "results/demo/logs/train.log", "f" * 16
        )
        self.job("evaluate", trained, scored, "results/demo/logs/evaluate.log", "another")
        self.job("table", [*scored, "Snakefile"], [TABLE], "results/demo/logs/table.log", "x")
        self.write("results/demo/logs/train.log", f"trained in {HOME}/lra\n")
        self.write("results/demo/logs/evaluate.log", "")
        jobs.write_records(self.jobs, root)

    def write(self, name: str, content: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def job(self, rule: str, reads: list, makes: list, log: str, code: str) -> None:
        sums = {path: jobs.CHECKSUM + sha256(self.root / path) for path in reads}
        start = TIME + 10 * len(self.jobs)
        self.jobs.append(
            Job(rule=rule, input=reads, output=makes, log=[log], params=[repr(code)], code=rule,
                shellcmd=f"lra {rule}", starttime=start, endtime=start + 5,
                input_checksums=sums, software_stack_hash=None)
        )  # fmt: skip

    def archive(self, path: Path, **options: object) -> list[str]:
        """What a reader is told."""
        whole = Experiment(**EXPERIMENT | {"experiment": "demo"})
        private = Private(self.root, {}, Path(HOME), "alice", "mars")
        return archive(whole, [TABLE], self.root, path, private=private, **options)
