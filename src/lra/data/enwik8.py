"""Retrieval: does one article of Wikipedia link to the other? Articles of enwik8 as bytes.

Titles, and how many links an article has, must not tell the label. So every link of every article
is one byte, MASK, and so is each further mention of what it links to, and of the other article's
title. Pairs of both labels have the same first articles and, but for a few, the same second ones
equally often: a pair without a link takes its second article from another linked pair whose first
article is of the same neighbourhood.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import check_contents, contents
from lra.data.byte_tokens import VOCAB_SIZE, documents
from lra.data.near_duplicates import groups, in_one_split
from lra.data.prepare import Portions, Reader, Sizes
from lra.data.recipe import Content
from lra.data.split import Info

FILE = re.compile(r"(?:.*/)?(enwik8)(?:\.gz)?")
PAGE = re.compile(rb'<title>([^<]*)</title>.*?<text xml:space="preserve">([^<]*)</text>', re.DOTALL)
NAMESPACE = re.compile(
    rb"(?:Category|Help|Image|MediaWiki|Portal|Talk|Template|User|Wikipedia)(?: talk)?:"
)
REDIRECT = re.compile(rb"\s*#redirect", re.IGNORECASE)
LINK = re.compile(rb"\[\[([^\[\]|#]*)(?:#[^\[\]|]*)?(?:\|([^\[\]]*))?\]\]")
ENTITIES = ((b"&lt;", b"<"), (b"&gt;", b">"), (b"&quot;", b'"'), (b"&amp;", b"&"))
IN_BRACKETS = re.compile(rb" \([^()]*\)$")  # of a title: "Apollo (god)"
MASK = b"_"
WORD_START = re.compile(rb"(?<![\w\x80-\xff])(?=(...))", re.DOTALL)  # of SHORTEST bytes
SHORTEST = 3  # bytes of a title that is masked where it is no link, too
SIMILARITY = 0.5  # from which two articles are near duplicates
NEIGHBOURS = 50  # articles of a neighbourhood, on average
CHUNK = 1000  # pairs in a table


class Links(Settings):
    """Articles in the first 10^8 bytes of the English Wikipedia of 3 March 2006."""

    max_length: int = Field(4000, gt=0)  # bytes of each article
    min_length: int = Field(4000, gt=0)  # bytes of an article's source; shorter ones are left out
    content: Content = None


@dataclass(frozen=True)
class Article:
    title: bytes
    text: bytes  # its first bytes, more than are shown, since masking shortens them
    links: set[bytes]  # titles


def links(archive: Path, options: Links, sizes: Sizes, seed: int) -> Portions:
    """Splits share no article: a pair has both of its articles in its split."""
    found = contents(archive, FILE)
    if not found:
        raise LRAError(f"{archive}: has no enwik8")
    check_contents(archive, found, options.content)
    articles = read_articles(found.pop("enwik8"), options)
    if not articles:
        raise LRAError(f"{archive}: enwik8: has no article of {options.min_length:,} bytes")
    rng = np.random.default_rng(seed)
    for split, chosen in _apart(articles, options, sizes, rng):
        where = f"{archive}: {split}"
        a, b, labels = pairs(chosen, sizes[split], rng, where)
        for start in range(0, len(labels), CHUNK):
            part = slice(start, start + CHUNK)
            texts = [_masked(chosen[i], chosen[j]) for i, j in zip(a[part], b[part], strict=True)]
            one, other = zip(*texts, strict=True)
            yield split, documents(archive, options.max_length, labels[part], one, other)


def read_articles(enwik8: bytes, options: Links) -> list[Article]:
    """The articles that are long enough, with their links to others of these."""
    texts, redirects = {}, {}
    for page in PAGE.finditer(enwik8):
        title, text = page.groups()
        if NAMESPACE.match(title):
            continue
        if REDIRECT.match(text):
            target = LINK.search(text)
            redirects[title] = _title(target[1]) if target else title
        elif len(text) >= options.min_length:
            texts[title] = text
    articles = []
    for title, text in texts.items():
        for entity, character in ENTITIES:
            text = text.replace(entity, character)
        found = set(LINK.findall(text))
        targets = {_title(target) for target, _ in found}
        targets = {redirects.get(target, target) for target in targets}
        mentions = {each for link in found for each in link if each} | targets
        text = LINK.sub(MASK, LINK.sub(MASK, text))  # the second are images with links below
        text = text[: 2 * options.max_length]
        begun = set(WORD_START.findall(text))  # most links are far below, and need no search
        names = (name for name in _names(mentions) if name[:SHORTEST] in begun)
        text = _without(text, names)
        articles.append(Article(title, text, (targets & texts.keys()) - {title}))
    return articles


def _title(written: bytes) -> bytes:
    """What a link names, as the article's title has it."""
    name = written.replace(b"_", b" ").strip()
    return name[:1].upper() + name[1:]


def _names(titles: Iterable[bytes]) -> set[bytes]:
    """As a text may mention them."""
    names = {name.strip() for title in titles for name in (title, IN_BRACKETS.sub(b"", title))}
    names |= {name[:1].lower() + name[1:] for name in names}
    return names | {name[:1].upper() + name[1:] for name in names}


def _without(text: bytes, names: Iterable[bytes]) -> bytes:
    for name in sorted(names, key=lambda name: (-len(name), name)):
        if len(name) >= SHORTEST:
            text = text.replace(name, MASK)
    return text


def _masked(a: Article, b: Article) -> tuple[bytes, bytes]:
    return _without(a.text, _names([b.title])), _without(b.text, _names([a.title]))


def _apart(
    articles: list[Article], options: Links, sizes: Sizes, rng: np.random.Generator
) -> Iterator[tuple[str, list[Article]]]:
    """Near duplicates are in one split. The pairs of n articles are about as many as n squared."""
    near = groups([article.text[: options.max_length] for article in articles], SIMILARITY)
    order = np.concatenate([*in_one_split(near, rng), np.empty(0, int)])
    shares = np.sqrt([sizes[split] for split in ("test", "val", "train")])
    ends = np.round(len(order) * np.cumsum(shares) / shares.sum()).astype(int)
    start = 0
    for split, end in zip(("test", "val", "train"), ends, strict=True):
        while 0 < end < len(order) and near[order[end]] == near[order[end - 1]]:
            end += 1
        yield split, [articles[place] for place in order[start:end]]
        start = max(start, end)


def pairs(
    articles: list[Article], size: int, rng: np.random.Generator, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second articles (size,), as places in `articles`, and labels (size,); half are 1.

    Raises LRAError beginning with `where` for too few links.
    """
    place = {article.title: number for number, article in enumerate(articles)}
    linked = np.zeros((len(articles),) * 2, bool)
    for number, article in enumerate(articles):
        linked[number, sorted(place[title] for title in article.links if title in place)] = True
    a, b = np.nonzero(linked)
    count = (size + 1) // 2
    if len(a) < count:
        raise LRAError(f"{where}: has {len(a):,} links, too few for {size:,} examples")
    drawn = rng.choice(len(a), count, replace=False)
    a, b = a[drawn], b[drawn]
    other = _exchanged(a, b, linked, _neighbourhoods(linked, rng), rng, where)
    order = rng.permutation(2 * count)[:size]
    labels = np.repeat([1, 0], count)
    return np.tile(a, 2)[order], np.concatenate([b, other])[order], labels[order]


def _neighbourhoods(linked: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(articles,) the one of a few drawn articles with which each shares most of its links.

    Counts alone decide, so the bytes do not depend on a machine's arithmetic.
    """
    from scipy.sparse import csr_array

    neighbours = csr_array((linked | linked.T).astype(np.int32))
    centres = rng.permutation(len(linked))[: -(-len(linked) // NEIGHBOURS)]
    shared = (neighbours @ neighbours[centres].T).toarray()
    sizes = np.diff(neighbours.indptr)
    every = sizes[:, None] + sizes[centres] - shared
    return (shared / np.maximum(every, 1)).argmax(1)


def _exchanged(
    a: np.ndarray,
    b: np.ndarray,
    linked: np.ndarray,
    home: np.ndarray,
    rng: np.random.Generator,
    where: str,
) -> np.ndarray:
    """Second articles for `a` that these do not link to: `b` in another order, but for a few.

    Linked pairs exchange their second articles where the first ones are of one neighbourhood. What
    then is left exchanges with any pair, or takes any article. No pair occurs twice.
    """
    barred = linked | np.eye(len(linked), dtype=bool)  # and the pairs that were chosen
    order = np.lexsort((rng.random(len(a)), home[a]))
    a, other, home = a[order], b[order], home[a[order]]
    ends, left = np.searchsorted(home, home, side="right"), []
    for i, end in enumerate(ends):
        fitting = i + np.flatnonzero(~barred[a[i], other[i:end]])
        if not len(fitting):
            left.append(i)
            continue
        j = rng.choice(fitting)
        other[i], other[j] = other[j], other[i]
        barred[a[i], other[i]] = True
    for i in left:
        j = rng.permutation(len(a))
        fitting = j[~barred[a[i], other[j]] & ~barred[a[j], other[i]]]
        if len(fitting):
            j = fitting[0]
            other[i], other[j] = other[j], other[i]
            barred[a[j], other[j]] = True
        elif len(free := np.flatnonzero(~barred[a[i]])):
            other[i] = rng.choice(free)
        else:
            raise LRAError(f"{where}: has an article that links to, or is paired with, all others")
        barred[a[i], other[i]] = True
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return other[back]


def info(options: Links) -> Info:
    return Info("retrieval", VOCAB_SIZE, 2, options.max_length, True, source="enwik8, Mahoney 2006")


READERS = {"enwik8_links": Reader(Links, info, links)}
