"""Texts that are nearly the same, so that a split holds all of a group or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

WORDS = 3  # of a shingle
ROWS = 1000  # texts compared with all others at once


def groups(texts: Sequence[bytes], similarity: float) -> np.ndarray:
    """(n,) the number of each text's group.

    Two texts are in one group where the Jaccard similarity of their sets of WORDS consecutive words
    is `similarity` or more, and so are chains of such pairs. Equal texts are, also short ones.
    """
    # slow to import, and a plan imports this module's readers for their options
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from sklearn.feature_extraction.text import HashingVectorizer

    shingles = HashingVectorizer(
        encoding="latin-1", token_pattern=r"\S+", ngram_range=(WORDS, WORDS), n_features=2**22,
        binary=True, alternate_sign=False, norm=None, dtype=np.float32,
    ).transform(texts)  # fmt: skip
    sizes = np.diff(shingles.indptr)
    _, first, same = np.unique(np.array(texts, object), return_index=True, return_inverse=True)
    rows, columns = [np.arange(len(texts))], [first[same]]
    for start in range(0, len(texts), ROWS):
        shared = (shingles[start : start + ROWS] @ shingles.T).tocoo()
        one, other = shared.row + start, shared.col
        near = shared.data >= similarity * (sizes[one] + sizes[other] - shared.data)
        rows.append(one[near])
        columns.append(other[near])
    row, column = np.concatenate(rows), np.concatenate(columns)
    links = coo_array((np.ones(len(row), bool), (row, column)), (len(texts),) * 2)
    return connected_components(links, directed=False)[1]


def in_one_split(group: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The members (places) of each group, groups in an order drawn by `rng`."""
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return (members[place] for place in rng.permutation(len(members)))
