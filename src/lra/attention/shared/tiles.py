"""Tiles: some heads of some segments, with keys and values of the segments that these see.

For shape letters see lra.attention.base; M are all segments of a batch in a row, h and m a tile's
heads and segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from einops import rearrange
from torch import Tensor

Tile = tuple[slice, slice, slice]  # of (M, s, H D): some segments, and some heads' columns


def tiles(
    segments: int, heads: int, size: int, at_once: tuple[int, int]
) -> Iterator[tuple[slice, Tile]]:
    """Every tile of `at_once` heads, of this size, and segments: its heads, and its place."""
    for h in range(0, heads, at_once[0]):
        some = slice(h, h + at_once[0])
        cut = slice(some.start * size, some.stop * size)
        for m in range(0, segments, at_once[1]):
            yield some, (slice(m, min(m + at_once[1], segments)), slice(None), cut)


def folded(t: Tensor, heads: int) -> Tensor:
    """(m, s, h D) -> (h m, s, D)"""
    return t if heads == 1 else rearrange(t, "m s (h d) -> (h m) s d", h=heads)


def unfolded(t: Tensor, heads: int) -> Tensor:
    """The inverse of `folded`"""
    return t if heads == 1 else rearrange(t, "(h m) s d -> m s (h d)", h=heads)


def before(tile: Tile, steps: int) -> tuple[Tile, int]:
    """The tile `steps` segments before, and how many of its segments there are not."""
    rows, tokens, cut = tile
    missing = min(max(steps - rows.start, 0), rows.stop - rows.start)
    return (slice(rows.start - steps + missing, rows.stop - steps), tokens, cut), missing


def count_keys(parts: Sequence[Tensor], back: list[tuple[int, ...]]) -> int:
    """K: the keys that a segment sees, of parts (M, s, H D)"""
    return sum(part.shape[1] * len(each) for part, each in zip(parts, back, strict=True))


def gather(parts: Sequence[Tensor], back: list[tuple[int, ...]], tile: Tile) -> Tensor:
    """A tile's keys or values (m, K, h D), each part moved to the segments that see it."""
    rows, _, cut = tile
    shape = rows.stop - rows.start, count_keys(parts, back), cut.stop - cut.start
    out, start = parts[0].new_empty(shape), 0
    for part, each in zip(parts, back, strict=True):
        for steps in each:
            source, missing = before(tile, steps)
            moved = out[:, start : start + part.shape[1]]
            moved[:missing] = 0
            moved[missing:] = part[source]
            start += part.shape[1]
    return out


def scatter(parts: list[Tensor], back: list[tuple[int, ...]], tile: Tile, gathered: Tensor) -> None:
    """The backward of `gather`: adds the gradient of what it gathered to those of its parts."""
    start = 0
    for part, each in zip(parts, back, strict=True):
        for steps in each:
            target, missing = before(tile, steps)
            piece = gathered[missing:, start : start + part.shape[1]]
            # seen by one segment only, it is in no other tile
            part[target].copy_(piece) if len(each) == 1 else part[target].add_(piece)
            start += part.shape[1]
