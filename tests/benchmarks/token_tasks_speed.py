"""Speed of the generators of tokens: ``python token_tasks_speed.py [seconds]``.

At their sizes for a CPU. Prints examples a second of the driver's stream with one and two workers, start-up left out, and
whether the first chunks of both are the same. Cost: about so many seconds for each of ten.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from importlib import import_module
from itertools import islice
from pathlib import Path

import yaml

from lra.data.generate import stream
from lra.data.recipe import Dataset
from lra.data.sources import GENERATORS, OF_TOKENS

WARM_UP = 8  # chunks: every worker has started and compiled
DATASETS = Path(__file__).parents[2] / "config/datasets.yaml"


def steady(source: str, config: object, workers: int, seconds: float) -> tuple[float, list]:
    """Examples/s, and the first chunks' digests."""
    with closing(stream(source, config, 0, workers)) as chunks:
        first = [keys for _, keys in islice(chunks, WARM_UP)]
        drawn, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < seconds:
            drawn += len(next(chunks)[0])
        return drawn / spent, first


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3
    for name, entry in yaml.safe_load(DATASETS.read_text()).items():
        dataset = Dataset(**entry)
        if dataset.task in OF_TOKENS and dataset.source in GENERATORS and name.endswith("-small"):
            config = import_module(f"lra.data.{dataset.source}").Config(**dataset.options)
            (one, first), (two, second) = (
                steady(dataset.source, config, workers, seconds / 2) for workers in (1, 2)
            )
            print(f"{name}: one worker {one:,.0f}/s, two {two:,.0f}/s, same {first == second}")


if __name__ == "__main__":
    main()
