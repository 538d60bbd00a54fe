"""Attention to keys and values of earlier tokens: of all, or of those that a pattern keeps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lra.attention.rotary import rotations
from lra.attention.shared.rotation import rotate
from lra.attention.steps.base import State, Steps, append, attend, cached, last


class Cached(Steps):
    """Keys and values (B, H, n, D) of the tokens that a later one may see"""

    def kept(self, n: int) -> int:
        """How many of the last tokens, of n, are kept for those that follow"""
        return n

    def keys(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, N, D) of x (B, N, dim), whose first token has that position"""
        return self.split(self.layer.key, x), self.split(self.layer.value, x)

    def attended(self, x: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
        """What the token x (B, 1, dim) after n others sees of k and v, its own the last: (B, H, 1,
        D)"""
        return attend(self.split(self.layer.query, x), k, v)

    def split(self, projection: Any, x: Tensor) -> Tensor:
        return self.layer.split_heads(projection(x))

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        n = x.shape[1]
        first = n - self.kept(n)
        return tuple(map(cached, self.keys(x[:, first:], first)))

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        k, v = map(append, state.tensors, self.keys(x, state.n))
        y = self.layer.merge(self.attended(x, k, v, state.n))
        kept = self.kept(state.n + 1)
        return y, (last(k, kept), last(v, kept))


class Rotary(Cached):
    """Keys are kept as they are turned. ALiBi adds distances to the scores."""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.alibi = layer.positions == "alibi"

    def turned(self, t: Tensor, first: int) -> Tensor:
        return t if self.alibi else rotate(t, rotations(*t.shape[2:], t.device, first))

    def keys(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        k, v = super().keys(x, first)
        return self.turned(k, first), v

    def attended(self, x: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
        q, bias = self.turned(self.split(self.layer.query, x), n), None
        if self.alibi:
            slopes = self.layer.slopes
            distance = torch.arange(n, -1, -1, dtype=slopes.dtype, device=slopes.device)
            bias = -slopes[:, None, None] * distance  # (H, 1, n + 1)
        return attend(q, k, v, bias)


class Synthesizer(Cached):
    """One row of scores a step. Without `dot` there are no keys."""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.dot = "dot" in layer.parts
        self.shares = layer.shares()

    def keys(self, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
        v = self.split(self.layer.value, x)
        return (self.split(self.layer.key, x) if self.dot else v[..., :0]), v

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        k, v = self.keys(x, state.n)
        v = append(state.tensors[1], v)
        k = append(state.tensors[0], k) if self.dot else state.tensors[0]
        layer, parts = self.layer, [part for part in self.layer.parts if part != "dot"]
        scores = sum(self.row(part, x, state.n) * self.shares[part] for part in parts)
        if self.dot:
            out = attend(self.split(layer.query, x) * self.shares["dot"], k, v, scores)
        else:
            out = scores.softmax(-1) @ v
        return layer.merge(out), (k, v)

    def row(self, part: str, x: Tensor, n: int) -> Tensor:
        """Scores (B or 1, H, 1, n + 1) of the token x (B, 1, dim) after n others"""
        one, *two = self.layer.matrices[part]
        if part in ("random", "fixed-random"):
            return one[None, :, n : n + 1, : n + 1]
        if part == "factorised-random":
            return (one[:, n : n + 1] @ two[0][:, : n + 1].mT)[None]
        hidden = self.layer.split_heads(self.layer.hidden(x).relu())
        if part == "dense":
            return hidden @ one[..., : n + 1]
        major = hidden @ one[..., : -(-(n + 1) // self.layer.minor)]
        minor = hidden @ two[0]
        return (major[..., None] * minor[..., None, :]).flatten(-2)[..., : n + 1]


class Local(Cached):
    """The tokens of the own block. The official blocks are strided, and all tokens are kept."""

    def kept(self, n: int) -> int:
        return n if self.layer.variant == "official" else n % self.layer.block_size

    def attended(self, x: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
        if self.layer.variant == "official":
            groups = self.layer.max_len // self.layer.block_size + 1
            k, v = (t[..., n % groups :: groups, :] for t in (k, v))
        return super().attended(x, k, v, n)


class Longformer(Cached):
    def kept(self, n: int) -> int:
        return min(n, self.layer.before)


class Image(Cached):
    """The rows (1d: the tokens) from the top of the next token's block, and of its halo, on.

    In 2d a CLS token, which all see, is kept beside them.
    """

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.width, self.cls = layer.width or 1, int(layer.cls)
        axis = 0 if layer.width else 1
        self.block, self.halo = layer.block[axis], layer.halo[axis]

    def kept(self, n: int) -> int:
        pixel = n - self.cls
        row = pixel // self.width
        top = max(0, row // self.block * self.block - self.halo)
        return max(0, pixel - top * self.width)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        first = map(cached, self.keys(x[:, : self.cls], 0))
        return (*super().after(x), *first)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        k, v, *first = state.tensors
        n, own = state.n, self.keys(x, state.n)
        if n < self.cls:
            first = map(append, first, own)
            return self.layer.merge(own[1]), (k, v, *first)  # it sees itself alone
        k, v = map(append, (k, v), own)
        allowed = None if self.layer.width is None else self.near(k.shape[2], n, x.device)
        seen = (
            [torch.cat(t, dim=2) for t in zip(first, (k, v), strict=True)] if self.cls else (k, v)
        )
        y = self.layer.merge(attend(self.split(self.layer.query, x), *seen, allowed))
        kept = self.kept(n + 1)
        return y, (last(k, kept), last(v, kept), *first)

    def near(self, count: int, n: int, device: torch.device) -> Tensor:
        """Of the CLS token and the last `count` pixels, those in the columns that token n sees"""
        width, halo = min(self.layer.block[1], self.width), self.layer.halo[1]
        pixel = n - self.cls
        left = pixel % self.width // width * width
        column = torch.arange(pixel + 1 - count, pixel + 1, device=device) % self.width
        inside = (column >= left - halo) & (column < left + width + halo)
        return torch.cat([inside.new_ones(self.cls), inside])[None]


class Sparse(Cached):
    """`fixed`: the own block, and the summaries of those before. `strided`: all tokens are kept."""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.size, self.fixed = layer.stride, layer.pattern == "fixed"

    def kept(self, n: int) -> int:
        return n % self.size if self.fixed else n

    def attended(self, x: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
        if n > self.size and not self.fixed:  # far ones in the own column, then the near ones
            far = slice(n % self.size, n - self.size, self.size)
            k, v = (torch.cat([t[:, :, far], last(t, self.size + 1)], dim=2) for t in (k, v))
        return super().attended(x, k, v, n)

    def summaries(self, t: Tensor) -> Tensor:
        """The last tokens, officially the first one, too, of whole blocks of t (..., n, D)"""
        blocks = t.unflatten(-2, (-1, self.size))
        chosen = blocks[..., self.size - self.layer.summary :, :]
        if self.layer.sees_firsts:
            chosen = torch.cat([blocks[..., :1, :], chosen], dim=-2)
        return chosen.flatten(-3, -2)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        own = super().after(x)
        if not self.fixed:
            return own
        whole = x.shape[1] - x.shape[1] % self.size
        return (*own, *map(cached, self.keys(self.summaries(x[:, :whole]), 0)))

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        if not self.fixed:
            return super().advance(x, state)
        own = list(map(append, state.tensors[:2], self.keys(x, state.n)))
        far = state.tensors[2:]
        y = self.attended(x, *(torch.cat(pair, dim=2) for pair in zip(far, own, strict=True)), 0)
        if (state.n + 1) % self.size == 0:
            far = [
                append(t, self.summaries(last(new, self.size)))
                for t, new in zip(far, own, strict=True)
            ]
            own = [last(t, 0) for t in own]
        return self.layer.merge(y), (*own, *far)
