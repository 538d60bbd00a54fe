"""Baselines without a network, on the same splits: what a task gives away.

- majority class: the most frequent label of train.
- root operator (ListOps): the most frequent label of train given the first token.
- byte n-grams (Text, Retrieval): logistic regression on 1- to 3-grams of the tokens that two
  training documents or more have, as log(1 + count) times inverse document frequency, each document
  scaled to length 1. Retrieval, of documents u and v: u + v, |u - v| and u v.
- pixels (Image, Pathfinder, Path-X): logistic regression on pixels standardised by train.

The penalty is chosen on the validation split, or on a tenth of train where that is the test set. No
choice reads the test split.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags, hstack, spmatrix, vstack
from scipy.special import log_softmax

from lra.core.errors import LRAError
from lra.data.split import Sequences, Split, read_split
from lra.hardware.device import is_out_of_memory

SEED = 0  # of the examples drawn
PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of half the squared weights, by mean loss
ITERATIONS = 40  # of L-BFGS for each penalty, from the weights of the one before
LONGEST = 3  # tokens of an n-gram
MOST_TOKENS = 100_000_000  # of training text; more examples than have these are not read
MOST_PIXELS = 700_000_000  # of training images, likewise
CHUNK = 4_000_000  # tokens counted at once
BLOCK = 4_000_000  # pixels in float32 at once


@dataclass
class Result:
    """What one baseline reached; numbers are None where status is not ok."""

    kind: str
    status: str = "ok"  # or oom, diverged
    reason: str | None = None
    accuracy: float | None = None  # percent on the test split
    val_accuracy: float | None = None  # percent on what the penalty was chosen on
    penalty: float | None = None
    n_train: int | None = None  # examples learned from
    seconds: float | None = None  # wall clock: features, all penalties, answers


Blocks = Iterable[np.ndarray | spmatrix]  # float32 (block, features), the examples in order


class Diverged(Exception):
    """The loss is NaN or infinite."""


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
    except Diverged as error:
        return Result(kind, "diverged", str(error))
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


def regression(features: Callable[[Split], Callable[[Split], Blocks]], most: int) -> Callable:
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
        blocks, checks = matrix(known), matrix(chosen_on)
        weights, best = None, {"val_accuracy": -1.0}
        for penalty in PENALTIES:
            weights = fit(blocks, known.labels, train.info.classes, penalty, weights)
            reached = percent(predicted(checks, weights) == chosen_on.labels)
            if reached > best["val_accuracy"]:
                best, kept = {"val_accuracy": reached, "penalty": penalty}, weights
        del blocks, checks
        accuracy = percent(predicted(matrix(test), kept) == test.labels)
        return best | {"accuracy": accuracy, "n_train": len(known)}

    return learn


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


def fit(
    blocks: Blocks, labels: np.ndarray, classes: int, penalty: float, start: np.ndarray | None
) -> np.ndarray:
    """Weights (features + 1, classes), the last row the biases, which are not penalised.

    They make the mean cross entropy plus penalty / 2 times the sum of squares small: ITERATIONS of
    L-BFGS from `start`, or from zeros. Raises Diverged.
    """
    width = next(iter(blocks)).shape[1] + 1
    truth = np.eye(classes, dtype=np.float32)[labels]  # (n, classes)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(width, classes)
        small = weights.astype(np.float32)
        total, gradient, first = 0.0, np.zeros_like(weights), 0
        for x in blocks:
            wanted = truth[first : first + x.shape[0]]
            logs = log_softmax(x @ small[:-1] + small[-1], axis=1)
            total -= float((logs * wanted).sum(dtype=np.float64))
            error = np.exp(logs) - wanted
            gradient[:-1] += x.T @ error
            gradient[-1] += error.sum(0)
            first += x.shape[0]
        value = total / len(truth) + penalty / 2 * float(np.square(weights[:-1]).sum())
        if not np.isfinite(value):
            raise Diverged(f"loss {value} at penalty {penalty:g}")
        gradient /= len(truth)
        gradient[:-1] += penalty * weights[:-1]
        return value, gradient.ravel()

    start = np.zeros((width, classes)) if start is None else start
    done = minimize(
        loss, start.ravel(), jac=True, method="L-BFGS-B",
        options={"maxiter": ITERATIONS, "ftol": 1e-7},
    )  # fmt: skip
    return done.x.reshape(width, classes)


def predicted(blocks: Blocks, weights: np.ndarray) -> np.ndarray:
    """The likeliest class of every example."""
    small = weights.astype(np.float32)
    return np.concatenate([(x @ small[:-1] + small[-1]).argmax(1) for x in blocks])


@dataclass(frozen=True)
class Standardised:
    """Images as float32 blocks, one after the other, so that they are never all in memory."""

    images: np.ndarray  # (n, pixels) of uint8
    mean: np.ndarray  # (pixels,) of float32
    scale: np.ndarray  # (pixels,) of float32, 1 / standard deviation; 0 for a constant pixel

    def __iter__(self) -> Iterator[np.ndarray]:
        rows = max(1, BLOCK // self.images.shape[1])
        for first in range(0, len(self.images), rows):
            block = self.images[first : first + rows].astype(np.float32)
            block -= self.mean
            block *= self.scale
            yield block


def pixels(train: Split) -> Callable[[Split], Blocks]:
    """Every pixel of grey images of one size."""
    images = grid(train)
    zeros, ones = (np.full(images.shape[1], x, np.float32) for x in (0, 1))
    raw = Standardised(images, zeros, ones)
    mean = sum(block.sum(0, dtype=np.float64) for block in raw) / len(images)
    centred = Standardised(images, mean.astype(np.float32), ones)
    variance = sum(np.square(block).sum(0, dtype=np.float64) for block in centred) / len(images)
    scale = np.where(variance > 0, np.maximum(variance, 1e-12) ** -0.5, 0).astype(np.float32)
    return lambda split: Standardised(grid(split), centred.mean, scale)


def grid(split: Split) -> np.ndarray:
    """(examples, pixels). Raises LRAError where images differ in size."""
    (tokens,) = split.towers
    sizes = np.unique(np.diff(tokens.offsets))
    if len(sizes) != 1:
        raise LRAError(f"baseline of {split.info.task}: its images are not all of one size")
    return tokens.values.reshape(-1, sizes[0])


def n_grams(train: Split) -> Callable[[Split], Blocks]:
    """1- to LONGEST-grams of one document, or of two and of what they share."""
    counted = [counts(tower, train.info.vocab_size) for tower in train.towers]
    columns = counted[0].shape[1]
    documents = sum(np.bincount(each.indices, minlength=columns) for each in counted)
    kept = np.flatnonzero(documents >= 2)
    total = len(train) * len(counted)
    weight = diags((np.log((1 + total) / (1 + documents[kept])) + 1).astype(np.float32))
    del counted, documents

    def weighed(tower: Sequences) -> csr_matrix:
        found = counts(tower, train.info.vocab_size)[:, kept]
        found.data = np.log1p(found.data)
        found = (found @ weight).tocsr()
        length = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
        return (diags(1 / np.maximum(length, 1e-12).astype(np.float32)) @ found).tocsr()

    def matrix(split: Split) -> Blocks:
        documents = [weighed(tower) for tower in split.towers]
        if len(documents) == 1:
            return documents
        u, v = documents
        return [hstack([u + v, abs(u - v), u.multiply(v)], format="csr")]

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
