"""Baselines without a network, on the same splits: what a task gives away.

- majority class: the most frequent label of train.
- root operator (ListOps): the most frequent label of train given the first token.
- byte n-grams (Text, Retrieval): logistic regression on 1- to 3-grams of the tokens that two
  training documents or more have, as 1 + log(count) times inverse document frequency, each document
  scaled to length 1. Retrieval, of documents u and v: u + v, |u - v| and u v.
- pixels (Image, Pathfinder, Path-X): logistic regression on pixels standardised by train.

The penalty is chosen on the validation split, or on a tenth of train where that is the test set. No
choice reads the test split.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix, hstack, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from lra.core.errors import LRAError
from lra.data.split import Sequences, Split, read_split
from lra.hardware.device import is_out_of_memory

SEED = 0  # of the examples drawn
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of half the squared weights, to the mean loss
ITERATIONS = 40  # of L-BFGS for each penalty, from the weights of the one before
LONGEST = 3  # tokens of an n-gram
MOST_TOKENS = 100_000_000  # of training text; more examples than have these are not read
MOST_PIXELS = 700_000_000  # of training images, likewise
CHUNK = 4_000_000  # tokens counted at once


@dataclass
class Result:
    """What one baseline reached; numbers are None where status is not ok."""

    kind: str
    status: str = "ok"  # or oom
    reason: str | None = None
    accuracy: float | None = None  # percent on the test split
    val_accuracy: float | None = None  # percent on what the penalty was chosen on
    penalty: float | None = None
    n_train: int | None = None  # examples learned from
    seconds: float | None = None  # wall clock: features, all penalties, answers


Features = Callable[[Split], np.ndarray | csr_matrix]  # float32 (examples, features)


def baselines(data: Path) -> list[Result]:
    """Every baseline of the task whose splits lie in the folder `data`."""
    train, val, test = (read_split(data / f"{name}.arrow") for name in ("train", "val", "test"))
    return [attempt(kind, train, val, test) for kind in kinds(train.info.task)]


def kinds(task: str) -> list[str]:
    """Of a task by its name in config/tasks/, the majority class first."""
    own = {"listops": "root operator", "text": "byte n-grams", "retrieval": "byte n-grams"}
    own |= dict.fromkeys(("image", "pathfinder", "pathx"), "pixels")
    return ["majority class", *([own[task]] if task in own else [])]


def attempt(kind: str, train: Split, val: Split, test: Split) -> Result:
    """One baseline. A lack of memory and a loss that is not finite are a status."""
    learn = {
        "majority class": majority_class,
        "root operator": root_operator,
        "byte n-grams": regression(n_grams, MOST_TOKENS),
        "pixels": regression(pixels, MOST_PIXELS),
    }[kind]
    start = time.perf_counter()
    try:
        found = learn(train, val, test)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return Result(kind, "oom", "out of memory")
    return Result(kind, **found, seconds=time.perf_counter() - start)


def percent(right: np.ndarray) -> float:
    return 100 * float(np.mean(right))


def majority_class(train: Split, val: Split, test: Split) -> dict:
    answer = np.bincount(train.labels).argmax()
    found = {"accuracy": test, "val_accuracy": val}
    return {k: percent(s.labels == answer) for k, s in found.items()} | {"n_train": len(train)}


def root_operator(train: Split, val: Split, test: Split) -> dict:
    """A first token that train lacks gets train's most frequent label."""
    counts = np.zeros((train.info.vocab_size, train.info.classes), np.int64)
    np.add.at(counts, (first_tokens(train), train.labels), 1)
    answers = np.where(counts.any(1), counts.argmax(1), counts.sum(0).argmax())
    found = {"accuracy": test, "val_accuracy": val}
    right = {k: percent(answers[first_tokens(s)] == s.labels) for k, s in found.items()}
    return right | {"n_train": len(train)}


def first_tokens(split: Split) -> np.ndarray:
    """(examples,)"""
    (tokens,) = split.towers
    return tokens.values[tokens.offsets[:-1]]


def regression(features: Callable[[Split], Features], most: int) -> Callable:
    """Logistic regression, learned from at most `most` tokens of train.

    features: of a training split, how any split becomes a matrix.
    """

    def learn(train: Split, val: Split, test: Split) -> dict:
        order = np.random.default_rng(SEED).permutation(len(train))
        chosen_on = val
        if train.info.validation != "held out":  # then val is the test set
            held, order = np.split(order, [len(train) // 10])
            chosen_on = subset(train, np.sort(held))
        sizes = sum(np.diff(tower.offsets) for tower in train.towers)
        fitting = np.searchsorted(np.cumsum(sizes[order]), most, side="right")
        known = subset(train, np.sort(order[:fitting]))
        matrix = features(known)
        learned, checked = matrix(known), matrix(chosen_on)
        model = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
        best = {"val_accuracy": -1.0}
        for penalty in PENALTIES:
            fit(model, learned, known.labels, penalty)
            reached = percent(model.predict(checked) == chosen_on.labels)
            if reached > best["val_accuracy"]:
                best, kept = {"val_accuracy": reached, "penalty": penalty}, deepcopy(model)
        del learned, checked
        accuracy = percent(kept.predict(matrix(test)) == test.labels)
        return best | {"accuracy": accuracy, "n_train": len(known)}

    return learn


def fit(
    model: LogisticRegression, x: np.ndarray | csr_matrix, labels: np.ndarray, penalty: float
) -> None:
    """Goes on from the model's weights, those of a stronger penalty; it may stop before its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.set_params(C=1 / (penalty * len(labels))).fit(x, labels)


def subset(split: Split, rows: np.ndarray) -> Split:
    """The examples `rows` (indices) of a split, in that order."""
    towers = []
    for tower in split.towers:
        sizes = np.unique(np.diff(tower.offsets))
        if len(sizes) == 1:  # images; below, each token takes 8 bytes more
            values = tower.values.reshape(-1, sizes[0])[rows].ravel()
            towers.append(Sequences(values, np.arange(len(rows) + 1) * sizes[0]))
            continue
        lists = pa.LargeListArray.from_arrays(pa.array(tower.offsets), pa.array(tower.values))
        taken = lists.take(pa.array(rows))
        offsets = taken.offsets.to_numpy()
        towers.append(Sequences(taken.values.to_numpy()[: offsets[-1]], offsets))
    return Split(tuple(towers), split.labels[rows], split.info)


def pixels(train: Split) -> Features:
    """Every pixel of grey images of one size, standardised by train."""
    scaler = StandardScaler(copy=False).fit(grid(train))
    return lambda split: scaler.transform(grid(split))


def grid(split: Split) -> np.ndarray:
    """(examples, pixels) of float32. Raises LRAError where images differ in size."""
    (tokens,) = split.towers
    sizes = np.unique(np.diff(tokens.offsets))
    if len(sizes) != 1:
        raise LRAError(f"baseline of {split.info.task}: its images are not all of one size")
    return tokens.values.reshape(-1, sizes[0]).astype(np.float32)


def n_grams(train: Split) -> Features:
    """1- to LONGEST-grams of one document, or of two and of what they share."""
    vocab = train.info.vocab_size
    counted = vstack([counts(tower, vocab) for tower in train.towers], format="csr")
    kept = np.flatnonzero(np.bincount(counted.indices, minlength=counted.shape[1]) >= 2)
    weights = TfidfTransformer(sublinear_tf=True).fit(counted[:, kept])
    del counted

    def matrix(split: Split) -> csr_matrix:
        documents = [weights.transform(counts(each, vocab)[:, kept]) for each in split.towers]
        if len(documents) == 1:
            return documents[0]
        u, v = documents
        return hstack([u + v, abs(u - v), u.multiply(v)], format="csr")

    return matrix


def counts(tower: Sequences, vocab: int) -> csr_matrix:
    """How often every n-gram occurs in every document: (documents, V + V^2 + ...), float32"""
    columns = sum(vocab**n for n in range(1, LONGEST + 1))
    ends, parts, first = tower.offsets[1:], [], 0
    while first < len(ends):
        start = tower.offsets[first]
        last = max(first + 1, int(np.searchsorted(ends, start + CHUNK, side="right")))
        values = tower.values[start : ends[last - 1]].astype(np.int64)
        sizes = np.diff(tower.offsets[first : last + 1])
        document = np.repeat(np.arange(last - first, dtype=np.int32), sizes)
        grams, owners, base = [], [], 0
        for n in range(1, LONGEST + 1):
            count = max(0, len(values) - n + 1)
            number = sum(values[i : i + count] * vocab ** (n - 1 - i) for i in range(n))
            inside = document[:count] == document[n - 1 :][:count]
            grams.append((number[inside] + base).astype(np.int32))
            owners.append(document[:count][inside])
            base += vocab**n
        where = np.concatenate(owners), np.concatenate(grams)
        ones = np.ones(len(where[0]), np.float32)
        parts.append(csr_matrix((ones, where), shape=(last - first, columns)))
        first = last
    return vstack(parts, format="csr")
