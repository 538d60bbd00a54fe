"""Retrieval: do two documents belong together? Citations of AAN, or short texts for a laptop."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import tsv_rows
from lra.data.byte_tokens import VOCAB_SIZE, documents
from lra.data.prepare import Portions, Reader, Sizes, by_lot, chunks
from lra.data.split import Info
from lra.data.text import of_kinds

COLUMNS = ("label", "id_a", "id_b", "a", "b")
CHUNK = 1000  # pairs in a table
PAIRS = {f"new_aan_pairs.{part}.tsv": split
         for part, split in (("train", "train"), ("eval", "val"), ("test", "test"))}  # fmt: skip
PAIRED = ["tweet", "product review"]  # kinds of text


class AAN(Settings):
    """Pairs of papers of the ACL Anthology Network: does one cite the other?"""

    max_length: int = Field(4000, gt=0)  # bytes of each document


class KindPairs(Settings):
    """Pairs of texts: are both tweets, or both of product reviews?"""

    max_length: int = Field(64, gt=0)  # bytes of each text


def aan(archive: Path, options: AAN, sizes: Sizes, seed: int) -> Portions:
    """The three TSV files of lra_release, which have no header."""
    rows = tsv_rows(archive, PAIRS, COLUMNS, header=False)
    for name, own in groupby(rows, key=lambda row: row[0]):
        for some in chunks((_pair(where, row, options) for _, where, row in own), CHUNK):
            labels, a, b = zip(*some, strict=True)
            yield PAIRS[name], documents(archive, options.max_length, np.array(labels), a, b)


def _pair(where: str, row: list[bytes], options: AAN) -> tuple[int, bytes, bytes]:
    """Label and both documents, cut at once: a line may have 20 MB."""
    label, _, _, *texts = row
    labels = {b"0": 0, b"0.0": 0, b"1": 1, b"1.0": 1}
    if label.strip() not in labels:
        raise LRAError(
            f"{where}: label '{label[:20].decode('utf-8', 'replace')}' is neither 0 nor 1"
        )
    return labels[label.strip()], *(text[: options.max_length] for text in texts)


def kind_pairs(archive: Path, options: KindPairs, sizes: Sizes, seed: int) -> Portions:
    """Texts are paired at random, so about half of the pairs are of one kind.

    Splits share no text. Those of val and test are in one pair each; train has all the others, in
    as many rounds as its size needs.
    """
    texts, kinds = of_kinds(archive, PAIRED, options.max_length, seed)
    rng, wanted = np.random.default_rng(seed), {split: 2 * n for split, n in sizes.items()}
    for split, places in by_lot(len(texts), wanted, seed):
        even = places[: len(places) // 2 * 2]  # no pair is of two rounds
        rounds = range(-(-wanted[split] // max(1, len(even))))
        order = np.concatenate([even[:0], *(rng.permutation(even) for _ in rounds)])
        a, b = order[: wanted[split]].reshape(-1, 2).T
        towers = ([texts[place] for place in side] for side in (a, b))
        yield split, documents(archive, options.max_length, kinds[a] == kinds[b], *towers)


def aan_info(options: AAN) -> Info:
    source = "AAN, Radev et al. 2013, pairs of Tay et al. 2020"
    return Info("retrieval", VOCAB_SIZE, 2, options.max_length, True, source=source)


def kind_pairs_info(options: KindPairs) -> Info:
    source = f"{', '.join(PAIRED)}: are both texts of one kind? Hutto and Gilbert 2014"
    return Info("retrieval", VOCAB_SIZE, 2, options.max_length, True, source=source)


READERS = {
    "aan": Reader(AAN, aan_info, aan),
    "kind_pairs": Reader(KindPairs, kind_pairs_info, kind_pairs),
}
