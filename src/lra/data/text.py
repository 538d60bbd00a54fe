"""Text: is a review positive? IMDb as bytes. Or, for a laptop: of which kind is a short text?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import inner_members, lines, members
from lra.data.byte_tokens import VOCAB_SIZE, documents
from lra.data.prepare import Portions, Reader, Sizes, by_lot
from lra.data.split import Info

REVIEW = re.compile(r"(?:.*/)?(train|test)/(neg|pos)/\d+_\d+\.txt", re.IGNORECASE)
OTHER = re.compile(rb"[^a-z]")
FILES = {  # of the data of Hutto and Gilbert 2014, by kind of text
    "tweet": "tweets_GroundTruth.txt",
    "film review": "movieReviewSnippets_GroundTruth.txt",
    "product review": "amazonReviewSnippets_GroundTruth.txt",
    "editorial": "nytEditorialSnippets_GroundTruth.txt",
}


class Imdb(Settings):
    """Maas et al. 2011, as Tay et al. 2020 use it."""

    max_length: int = Field(4000, gt=0)  # bytes
    validation: Literal["train", "test"] = "train"  # held out of train, or the test split itself


class Kinds(Settings):
    """Is a text a tweet, or a sentence of a film review, product review or editorial?"""

    max_length: int = Field(64, gt=0)  # bytes


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


def kinds(archive: Path, options: Kinds, sizes: Sizes, seed: int) -> Portions:
    """Label i is the i-th of `FILES`."""
    texts, labels = of_kinds(archive, list(FILES), options.max_length, seed)
    for split, places in by_lot(len(texts), sizes, seed):
        chosen = [texts[place] for place in places]
        yield split, documents(archive, options.max_length, labels[places], chosen)


def of_kinds(
    archive: Path, names: Sequence[str], max_length: int, seed: int
) -> tuple[list[bytes], np.ndarray]:
    """Texts (n,) that differ in their first `max_length` bytes, and the places of their kinds (n,).

    A place is one in `names`. Of texts that begin with the same letters, in any case, the first is
    taken: tweets are there with "!" and "!!". Beginnings that two kinds share are left out. Of
    larger kinds a part is drawn, so that all have as many.
    """
    found: dict[bytes, dict[int, bytes]] = {}  # the letters, then one text of each kind
    for label, name in enumerate(names):
        for text in _texts(archive, FILES[name]):
            letters = OTHER.sub(b"", text[:max_length].lower())[: max_length // 2]
            found.setdefault(letters, {}).setdefault(label, text)
    groups: list[list[bytes]] = [[] for _ in names]
    for _, alike in sorted(found.items()):
        if len(alike) == 1:
            [(label, text)] = alike.items()
            groups[label].append(text)
    size, rng = min(map(len, groups)), np.random.default_rng(seed)
    drawn = [group[place] for group in groups for place in rng.permutation(len(group))[:size]]
    return drawn, np.repeat(np.arange(len(names)), size)


def _texts(archive: Path, name: str) -> Iterator[bytes]:
    """The texts of one file of the data of VADER's authors: id, rating and text in each line."""
    for outer, file in members(archive, lambda path: path.endswith("hutto_ICWSM_2014.tar.gz")):
        where, wanted = f"{archive}: {outer}", lambda path: PurePosixPath(path).name == name
        for inner, content in inner_members(where, file.read(), wanted):
            for number, line in lines(content):
                row = line.split(b"\t")
                if len(row) != 3:
                    line_of = f"{where}: {inner}: line {number}"
                    raise LRAError(f"{line_of}: {len(row)} columns, not 3")
                yield row[2].strip()
            return
        raise LRAError(f"{where}: has no {name}")
    raise LRAError(f"{archive}: has no hutto_ICWSM_2014.tar.gz")


def imdb_info(options: Imdb) -> Info:
    validation = {"train": "held out", "test": "test set"}[options.validation]
    return Info("text", VOCAB_SIZE, 2, options.max_length, True,
                source="IMDb reviews, Maas et al. 2011", validation=validation)  # fmt: skip


def kinds_info(options: Kinds) -> Info:
    source = f"{', '.join(FILES)}: which is it? Hutto and Gilbert 2014"
    return Info("text", VOCAB_SIZE, len(FILES), options.max_length, True, source=source)


READERS = {"imdb": Reader(Imdb, imdb_info, imdb), "kinds": Reader(Kinds, kinds_info, kinds)}
