"""BigBird, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.base import attendable
from lra.attention.bigbird import Attention


def attention(module: Attention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same, example by example, by a mask of all pairs of tokens."""
    mask = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
    return torch.stack([_row(module, *row) for row in zip(x, mask, strict=True)])


def _row(module: Attention, x: Tensor, real: Tensor) -> Tensor:
    n, size = len(x), module.block_size
    blocks = -(-n // size)
    last = max([0, *(i // size for i in range(n) if real[i])])
    pairs = torch.stack([adjacency(module, head, blocks, last) for head in range(module.heads)])
    pairs = pairs.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, :n, :n] & real
    if module.extra is not None:
        extra = module.extra[None]
        everything = torch.cat([extra, x[None]], dim=1)
        there = torch.cat([real.new_ones(extra.shape[1]), real])
        extra = extra + module.merge(_full(*_heads(module, extra, everything), there))
        x = torch.cat([extra, x[None]], dim=1)
        pairs = torch.cat([pairs.new_ones(*pairs.shape[:2], extra.shape[1]), pairs], dim=-1)
        return module.merge(_full(*_heads(module, x[:, -n:], x), pairs))[0]
    return module.merge(_full(*_heads(module, x[None], x[None]), pairs))[0]


def _full(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~attendable(allowed), -torch.inf)
    return scores.softmax(-1) @ v


def adjacency(module: Attention, head: int, blocks: int, last: int) -> Tensor:
    """Which blocks see which, (G, G), in one head for an example that ends in block `last`."""
    sees = torch.zeros(blocks, blocks, dtype=torch.bool)
    everywhere = {0, last} if module.extra is None else set()
    for i in range(blocks):
        near = {i - 1, i, i + 1} & set(range(last + 1))
        ranked = sorted(range(blocks), key=lambda j: module.rank[head, i, j])
        far = [j for j in ranked if j <= last and j not in near | everywhere and abs(i - j) > 1]
        sees[i, list(near | everywhere) + far[: module.random_blocks]] = True
    for i in everywhere:
        sees[i] = True
    return sees


def _heads(module: Attention, queries: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return module.project(queries)[0], *module.project(others)[1:]
