"""Speed and memory of preparing IMDb- and AAN-sized archives: `python prepare_speed.py`.

Makes archives of the true layout and size (50,000 reviews; 182,613 pairs of 4,000 bytes each) in a
temporary folder and prepares each in a process of its own. Prints seconds, MB of text a second and
the peak resident memory. Aim: IMDb in seconds, AAN well under two minutes and 2 GB. Needs 4 GB of
disk; cost: about three minutes, most of it to make the archives.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORDS = np.array(
    [
        "the",
        "of",
        "film",
        "paper",
        "a",
        "method",
        "that",
        "review",
        "was",
        "result",
        "with",
        "in",
        "not",
        "good",
        "we",
    ]
)
RUN = """
import sys, time
from pathlib import Path
from lra.data.recipe import Archive, Recipe
from lra.data.prepare import prepare_dataset
from lra.data.sources import READERS
source, archive, out, sizes = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), eval(sys.argv[4])
recipe = Recipe(source=source, archive=Archive(file=archive.name, urls=["http://localhost"]),
                train=sizes[0], val=sizes[1], test=sizes[2])
start = time.perf_counter()
prepare_dataset(READERS[source], recipe, archive, out)
seconds = time.perf_counter() - start
# not ru_maxrss, which begins with what the parent had
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(seconds, int(status["VmHWM"].split()[0]) / 1e3)
"""


def text(rng: np.random.Generator, size: int) -> bytes:
    return " ".join(rng.choice(WORDS, size // 4)).encode()[:size].ljust(size, b".")


def imdb(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    pool = text(rng, 10**6)
    for part in ("test", "train"):
        for side, stars in (("neg", 2), ("pos", 9)):
            for number in range(12_500):
                start, size = rng.integers(9 * 10**5), min(int(rng.gamma(1.7, 770)) + 50, 10**5)
                yield f"aclImdb/{part}/{side}/{number}_{stars}.txt", pool[start : start + size]


def aan(rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    pool = text(rng, 10**6)
    for part, rows in (("eval", 18_090), ("test", 17_437), ("train", 147_086)):
        starts = rng.integers(9 * 10**5, size=(rows, 2)).tolist()
        lines = (
            b"%d.0\tP%d\tQ%d\t%b\t%b\n" % (i % 2, i, i, pool[a : a + 4000], pool[b : b + 4000])
            for i, (a, b) in enumerate(starts)
        )
        yield f"lra_release/tsv_data/new_aan_pairs.{part}.tsv", b"".join(lines)


def write(path: Path, files: Iterator[tuple[str, bytes]]) -> float:
    """An archive; returns the MB of its files."""
    total = 0
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            total += len(content)
    return total / 1e6


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for source, files, sizes in (
            ("imdb", imdb(rng), (22_500, 2_500, 25_000)),
            ("aan", aan(rng), (147_086, 18_090, 17_437)),
        ):
            archive = Path(folder) / f"{source}.tar.gz"
            size = write(archive, files)
            command = [sys.executable, "-c", RUN, source, archive, f"{folder}/out", str(sizes)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, peak = map(float, done.stdout.split())
            print(f"{source}: {size:,.0f} MB of text in {seconds:.1f} s, {size / seconds:.0f} MB/s, "
                  f"peak memory {peak:,.0f} MB")  # fmt: skip
            archive.unlink()


if __name__ == "__main__":
    main()
