"""What the tokens of a task cost without a network, in bits for each: what a model has to be below.

- uniform: every token of the vocabulary alike; for Recall every value.
- token frequencies (Bytes): those of train, each count plus one.
- gzip, xz (Bytes): the test split in one piece, by the best setting of each. They see all text
  before a byte, a model only its window.
- a value of the context (Recall): each value of the example's pairs alike.

A share of right answers stands beside where it follows: in percent, expected of a guess.
"""

from __future__ import annotations

import gzip
import lzma
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lra.data.split import Split, read_split


@dataclass
class Floor:
    """Fields as of `lra.evaluation.baselines.Result`."""

    kind: str
    bits: float  # for each token that is to be predicted
    accuracy: float | None = None  # percent
    seconds: float | None = None
    n_train: int | None = None  # examples learned from
    status: str = "ok"
    reason: str | None = None
    val_accuracy: float | None = None
    penalty: float | None = None


def floors(data: Path) -> list[Floor]:
    """Every floor of the task whose splits lie in the folder `data`."""
    train, test = (read_split(data / f"{name}.arrow") for name in ("train", "test"))
    kinds = {"bytes": of_bytes, "recall": of_recall}
    return list(kinds[train.info.task](train, test))


def of_bytes(train: Split, test: Split) -> Iterator[Floor]:
    size = test.info.vocab_size
    yield Floor("uniform", float(np.log2(size)), 100 / size)
    tokens, known = test.towers[0].values, train.towers[0].values
    started = time.monotonic()
    share = (1 + np.bincount(known, minlength=size)) / (len(known) + size)
    counts = np.bincount(tokens, minlength=size)
    bits = float(-(counts * np.log2(share)).sum() / len(tokens))
    right = 100 * int(counts[share.argmax()]) / len(tokens)
    seconds = time.monotonic() - started
    yield Floor("token frequencies", bits, right, seconds, len(train))
    content = tokens.tobytes()
    for kind, pack in (
        ("gzip", lambda text: gzip.compress(text, 9, mtime=0)),
        ("xz", lambda text: lzma.compress(text, preset=9 | lzma.PRESET_EXTREME)),
    ):
        started = time.monotonic()
        bits = 8 * len(pack(content)) / len(content)
        yield Floor(kind, bits, seconds=time.monotonic() - started)


def of_recall(train: Split, test: Split) -> Iterator[Floor]:
    values = test.info.vocab_size - test.info.vocab_size // 2
    yield Floor("uniform", float(np.log2(values)), 100 / values)
    pairs = test.labels  # and as many answers, so an example counts by its pairs
    bits = float((pairs * np.log2(pairs)).sum() / pairs.sum())
    yield Floor("a value of the context", bits, 100 * len(pairs) / int(pairs.sum()))
