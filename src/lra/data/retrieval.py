"""Retrieval: do two documents belong together? Citations of AAN, or passages for a laptop."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import tsv_rows
from lra.data.byte_tokens import VOCAB_SIZE, documents
from lra.data.prepare import Portions, Reader, Sizes, chunks
from lra.data.split import Info
from lra.data.text import rated

COLUMNS = ("label", "id_a", "id_b", "a", "b")
CHUNK = 1000  # pairs in a table
PAIRS = {f"new_aan_pairs.{part}.tsv": split
         for part, split in (("train", "train"), ("eval", "val"), ("test", "test"))}  # fmt: skip
LONGEST_COMMONPLACE = 20  # bytes; documents that share a longer snippet go to one split


class AAN(Settings):
    """Pairs of papers of the ACL Anthology Network: does one cite the other?"""

    max_length: int = Field(4000, gt=0)  # bytes of each document


class Passages(Settings):
    """Pairs of passages: are both of the same editorial or product review?"""

    max_length: int = Field(256, gt=0)  # bytes of each passage
    snippets: int = Field(2, gt=0)  # about one sentence each, in one passage


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


def passages(archive: Path, options: Passages, sizes: Sizes, seed: int) -> Portions:
    """Pairs of passages, about half of them of one document. Splits share no document.

    Two passages of one document do not overlap. Two documents of a pair are both editorials or both
    product reviews, so that telling these apart does not help.
    """
    rng = np.random.default_rng(seed)
    kinds = [_snippets(archive, kind) for kind in ("nytEditorial", "amazonReview")]
    together = [(kind, texts) for kind, found in enumerate(kinds) for texts in found]
    for split, chosen in _apart(together, sizes, rng).items():
        groups = [[texts for of, texts in chosen if of == kind] for kind in range(len(kinds))]
        if not chosen or any(len(group) == 1 for group in groups):
            raise LRAError(f"{archive}: has too few documents without common text for {split}")
        shares = np.array([len(group) for group in groups]) / len(chosen)
        a, b, labels = [], [], []
        for _ in range(sizes[split]):
            group = groups[rng.choice(len(groups), p=shares)]
            one, other = rng.choice(len(group), 2, replace=False)
            first, second = _two_passages(group[one], options.snippets, rng)
            labels.append(bool(rng.integers(2)))
            if not labels[-1]:
                _, second = _two_passages(group[other], options.snippets, rng)
            a.append(first)
            b.append(second)
        yield split, documents(archive, options.max_length, np.array(labels), a, b)


def _snippets(archive: Path, kind: str) -> list[list[bytes]]:
    """The snippets of each document that has two or more, in their order."""
    of: dict[str, list[bytes]] = {}
    for name, _, text in rated(archive, f"{kind}Snippets_GroundTruth.txt"):
        of.setdefault(name.partition("_")[0], []).append(text)
    return [texts for texts in of.values() if len(texts) > 1]


def _apart(
    together: list[tuple[int, list[bytes]]], sizes: Sizes, rng: np.random.Generator
) -> dict[str, list[tuple[int, list[bytes]]]]:
    """Documents to splits in proportion to `sizes`. Those that share text stay together."""
    # slow to import, and a plan imports this module for its options
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    texts = {
        text: place for place, text in enumerate(sorted({t for _, ts in together for t in ts}))
    }
    pairs = [
        (number, texts[text])
        for number, (_, snippets) in enumerate(together)
        for text in snippets
        if len(text) > LONGEST_COMMONPLACE
    ]
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    count = len(together)
    links = coo_array((np.ones(len(pairs)), (rows, columns + count)), (count + len(texts),) * 2)
    _, component = connected_components(links, directed=False)
    drawn = {name: place for place, name in enumerate(rng.permutation(np.unique(component)))}
    order = sorted(range(count), key=lambda number: (drawn[component[number]], number))
    total, splits, taken = sum(sizes.values()), {}, 0
    for split, size in sizes.items():
        end = min(taken + round(count * size / total), count) if len(splits) < 2 else count
        while 0 < end < count and component[order[end]] == component[order[end - 1]]:
            end += 1
        splits[split] = [together[number] for number in order[taken:end]]
        taken = end
    return splits


def _two_passages(
    texts: list[bytes], snippets: int, rng: np.random.Generator
) -> tuple[bytes, bytes]:
    """Passages of `snippets` consecutive snippets (fewer in a short document), in random order."""
    size = min(snippets, len(texts) // 2)
    free = len(texts) - 2 * size
    before, between = np.sort(rng.integers(free + 1, size=2))
    starts = before, size + between
    pair = [b" ".join(texts[start : start + size]) for start in starts]
    return tuple(pair if rng.integers(2) else pair[::-1])


def aan_info(options: AAN) -> Info:
    source = "AAN, Radev et al. 2013, pairs of Tay et al. 2020"
    return Info("retrieval", VOCAB_SIZE, 2, options.max_length, True, source=source)


def passages_info(options: Passages) -> Info:
    source = "Hutto and Gilbert 2014"
    return Info("retrieval", VOCAB_SIZE, 2, options.max_length, True, source=source)


READERS = {
    "aan": Reader(AAN, aan_info, aan),
    "passages": Reader(Passages, passages_info, passages),
}
