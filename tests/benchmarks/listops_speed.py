"""Speed of the ListOps generator with the paper's settings: ``python listops_speed.py [count]``.

Prints expressions a second of `listops.generate` on one core, of the driver's stream with one and
two workers once they run, and of a whole data set on disk with start-up, for one and two workers.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

from lra.data import listops
from lra.data.generate import generate_dataset, stream

WARM_UP = 8  # chunks: every worker has started and compiled


def steady(count: int, workers: int) -> float:
    """Expressions/s of the stream of chunks, start-up left out."""
    with closing(stream("listops", listops.Config(), 0, workers)) as chunks:
        for _ in islice(chunks, WARM_UP):
            pass
        start = time.perf_counter()
        drawn = sum(len(table) for table, _ in islice(chunks, count // listops.CHUNK))
        return drawn / (time.perf_counter() - start)


def whole(count: int, workers: int) -> float:
    """Expressions/s of writing a data set of `count` rows, start-up included."""
    sizes = {"train": count - count // 25, "val": count // 50, "test": count // 50}
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        generate_dataset("listops", {}, sizes, 0, Path(folder), workers)
        return count / (time.perf_counter() - start)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    listops.generate(1, 0)  # compile
    start = time.perf_counter()
    listops.generate(count, 1)
    print(f"generate({count:,}), one core: {count / (time.perf_counter() - start):,.0f}/s")
    for name, measure in (("stream", steady), ("whole data set", whole)):
        one, two = measure(count, 1), measure(count, 2)
        print(f"{name}: one worker {one:,.0f}/s, two {two:,.0f}/s, ratio {two / one:.2f}")


if __name__ == "__main__":
    main()
