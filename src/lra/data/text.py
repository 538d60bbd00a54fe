"""Text: is a review positive? IMDb as bytes, or short sentences of reviews for a laptop."""

from __future__ import annotations

import math
import re
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import inner_members, lines, members, wrong
from lra.data.byte_tokens import VOCAB_SIZE, documents
from lra.data.prepare import Portions, Reader, Sizes, by_lot
from lra.data.split import Info

REVIEW = re.compile(r"(?:.*/)?(train|test)/(neg|pos)/\d+_\d+\.txt", re.IGNORECASE)


class Imdb(Settings):
    """Maas et al. 2011, as Tay et al. 2020 use it."""

    max_length: int = Field(4000, gt=0)  # bytes
    validation: Literal["train", "test"] = "train"  # held out of train, or the test split itself


class Sentences(Settings):
    """Sentences of movie reviews, each rated by about twenty people (Hutto and Gilbert 2014)."""

    max_length: int = Field(256, gt=0)  # bytes


def imdb(archive: Path, options: Imdb, sizes: Sizes, seed: int) -> Portions:
    """Reviews in an order drawn by `seed`, so that a random part is held out for validation."""
    reviews: dict[str, list[tuple[str, bool, bytes]]] = {"train": [], "test": []}
    for name, file in members(archive, lambda name: REVIEW.fullmatch(name) is not None):
        part, side = REVIEW.fullmatch(name).groups()
        reviews[part.lower()].append((name, side.lower() == "pos", file.read()))
    splits = {}
    for part, found in reviews.items():
        found.sort()  # the bytes must not depend on the archive's order
        drawn = np.random.default_rng(seed).permutation(len(found))
        splits[part] = [found[place] for place in drawn]
    if options.validation == "train":
        train = splits["train"]
        splits["train"], splits["val"] = train[: sizes["train"]], train[sizes["train"] :]
    else:
        splits["val"] = splits["test"]
    for split, found in splits.items():
        if found:
            _, labels, texts = zip(*found, strict=True)
            yield split, documents(archive, options.max_length, np.array(labels), list(texts))


def rated(archive: Path, name: str) -> list[tuple[str, float, bytes]]:
    """(id, mean rating from -4 to 4, text) of one file of the data of VADER's authors."""
    for outer, file in members(archive, lambda path: path.endswith("hutto_ICWSM_2014.tar.gz")):
        where, wanted = f"{archive}: {outer}", lambda path: PurePosixPath(path).name == name
        for inner, content in inner_members(where, file.read(), wanted):
            return [_rating(f"{where}: {inner}: line {number}", line)
                    for number, line in lines(content)]  # fmt: skip
        raise LRAError(f"{where}: has no {name}")
    raise LRAError(f"{archive}: has no hutto_ICWSM_2014.tar.gz")


def _rating(where: str, line: bytes) -> tuple[str, float, bytes]:
    row = line.split(b"\t")
    if len(row) != 3:
        raise LRAError(f"{where}: {len(row)} columns, not 3")
    with wrong(where):
        name, rating = row[0].decode(), float(row[1])
    if not math.isfinite(rating):
        raise LRAError(f"{where}: the rating is {rating}")
    return name, rating, row[2].strip()


def sentences(archive: Path, options: Sentences, sizes: Sizes, seed: int) -> Portions:
    """Label 1 is a mean rating above 0. Sentences of mean 0 are left out, and repeated ones."""
    rows = rated(archive, "movieReviewSnippets_GroundTruth.txt")
    sides = {text: rating > 0 for _, rating, text in rows if rating}
    texts = sorted(sides)
    for split, places in by_lot(len(texts), sizes, seed):
        chosen = [texts[place] for place in places]
        labels = np.array([sides[text] for text in chosen])
        yield split, documents(archive, options.max_length, labels, chosen)


def imdb_info(options: Imdb) -> Info:
    validation = {"train": "held out", "test": "test set"}[options.validation]
    return Info("text", VOCAB_SIZE, 2, options.max_length, True,
                source="IMDb reviews, Maas et al. 2011", validation=validation)  # fmt: skip


def sentences_info(options: Sentences) -> Info:
    return Info("text", VOCAB_SIZE, 2, options.max_length, True, source="Hutto and Gilbert 2014")


READERS = {
    "imdb": Reader(Imdb, imdb_info, imdb),
    "sentences": Reader(Sentences, sentences_info, sentences),
}
