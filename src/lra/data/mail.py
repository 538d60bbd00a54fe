"""Text: is a mail spam? The public corpus of SpamAssassin as bytes, without headers."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from pydantic import Field

from lra.core.errors import LRAError
from lra.core.schema import Settings
from lra.data.archives import check_contents, contents, wrong
from lra.data.byte_tokens import VOCAB_SIZE, documents
from lra.data.near_duplicates import groups, in_one_split
from lra.data.prepare import Portions, Reader, Sizes
from lra.data.recipe import Content
from lra.data.split import Info

MAIL = re.compile(r"(?:.*/)?(((?:easy|hard)-ham|spam)-\d/\d{5}\.[0-9a-f]{32})\.txt")
SIMILARITY = 0.5  # from which two mails are near duplicates
BLANKS = re.compile(r"[^\S\n]+")
EMPTY_LINES = re.compile(r" ?\n\s*")
INVISIBLE = {"script", "style", "title"}
NEW_LINE = {"br", "div", "h1", "h2", "h3", "hr", "li", "p", "td", "tr"}


class Mail(Settings):
    """The public corpus of SpamAssassin, 2002 to 2005."""

    max_length: int = Field(4000, gt=0)  # bytes
    content: Content = None


def mail(archive: Path, options: Mail, sizes: Sizes, seed: int) -> Portions:
    """Test and validation have as many mails of spam as of ham; train gets the rest.

    A text that several mails have is one example, or none where they are of both kinds. Near
    duplicates, judged by what is kept of a mail, are in one split.
    """
    found = contents(archive, MAIL)
    check_contents(archive, found, options.content)
    kinds: dict[bytes, set[bool]] = {}
    for name in sorted(found):
        with wrong(f"{archive}: {name}"):
            text = body(found[name])[: options.max_length].strip()
        kinds.setdefault(text, set()).add(name.startswith("spam"))
    texts = [text for text, of in kinds.items() if text and len(of) == 1]
    if not texts:
        raise LRAError(f"{archive}: has no mails")
    labels = np.array([True in kinds[text] for text in texts])
    for split, places in _balanced(labels, groups(texts, SIMILARITY), sizes, seed):
        if len(places):
            chosen = [texts[place] for place in places]
            yield split, documents(archive, options.max_length, labels[places], chosen)


def _balanced(
    labels: np.ndarray, group: np.ndarray, sizes: Sizes, seed: int
) -> Iterator[tuple[str, np.ndarray]]:
    """(split, places) with whole groups; one that test has no room for may be of validation."""
    rng = np.random.default_rng(seed)
    free = {split: np.array([sizes[split] // 2] * 2) for split in ("test", "val")}
    chosen: dict[str, list[np.ndarray]] = {"test": [], "val": [], "train": []}
    for members in in_one_split(group, rng):
        count = np.bincount(labels[members], minlength=2)
        split = next((name for name, room in free.items() if (count <= room).all()), "train")
        if split in free:
            free[split] -= count
        chosen[split].append(members)
    for split, members in chosen.items():
        yield split, rng.permutation(np.concatenate([*members, np.empty(0, int)]))


def body(content: bytes) -> bytes:
    """What a reader sees of a mail, as UTF-8 without empty lines.

    These are its plain texts, or its HTML without tags where it has none.
    """
    message = email.message_from_bytes(content)
    texts = [part for part in message.walk() if part.get_content_maintype() == "text"]
    plain = [part for part in texts if part.get_content_subtype() != "html"]
    shown = []
    for part in plain or texts:
        text = _decoded(part.get_payload(decode=True) or b"", part.get_content_charset("latin-1"))
        shown.append(text if plain else _without_tags(text))
    return EMPTY_LINES.sub("\n", BLANKS.sub(" ", "\n".join(shown))).strip().encode()


def _decoded(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, "replace")
    except (LookupError, ValueError):  # there is no such charset
        return content.decode("latin-1")


class _Shown(HTMLParser):
    """Collects the text that is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.is_shown = True
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.is_shown = tag not in INVISIBLE
        if tag in NEW_LINE:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.is_shown = True
        if tag in NEW_LINE:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if self.is_shown:
            self.parts.append(data)


def _without_tags(html: str) -> str:
    return "".join(_Shown(html).parts)


def info(options: Mail) -> Info:
    return Info(
        "text", VOCAB_SIZE, 2, options.max_length, True, source="SpamAssassin public corpus"
    )


READERS = {"mail": Reader(Mail, info, mail)}
