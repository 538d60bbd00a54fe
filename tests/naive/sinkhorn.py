"""Sparse Sinkhorn attention, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.base import pad_length
from lra.attention.sinkhorn import Attention


def attention(module: Attention, x: Tensor, mask: Tensor) -> Tensor:
    """The same without noise: example by example, head by head, block by block.

    Zeros where a token is not real. Blocks without any real token are left out altogether.
    """
    outs = torch.zeros_like(module.query(x))  # (B, N, H D)
    for b, real in enumerate(mask):
        heads = torch.arange(outs.shape[2]).chunk(module.heads) if real.any() else ()
        for columns in heads:
            q, k, v = (p(x[b])[:, columns] for p in (module.query, module.key, module.value))
            rows, attended = _head(module, q, k, v, real)
            outs = outs.index_put((torch.tensor(b), rows[:, None], columns), attended)
    return module.out(outs)


def _head(
    module: Attention, q: Tensor, k: Tensor, v: Tensor, real: Tensor
) -> tuple[Tensor, Tensor]:
    """q, k, v (N, D), real (N,) -> the numbers of the real tokens and their outputs"""
    n, size = len(q), module.block_size
    numbers = [g for g in range(-(-n // size)) if real[g * size : (g + 1) * size].any()]
    blocks = [torch.arange(g * size, min(g * size + size, n)) for g in numbers]
    here = real[:, None].to(q.dtype)
    k_blocks, v_blocks, shares = (
        torch.stack([pad_length(t[block], size, 0) for block in blocks])
        for t in (k * here, v * here, here)
    )  # (G, S, D), shares (G, S, 1)
    order = (module.sorter(k_blocks.sum(1))[:, numbers] / module.temperature).exp()
    for _ in range(module.iterations):
        order = order / order.sum(0, keepdim=True)
        order = order / order.sum(1, keepdim=True)
    moved = [torch.einsum("ij,jsd->isd", order, t) for t in (k_blocks, v_blocks, shares)]
    outs = []
    for i, block in enumerate(blocks):
        own = block[real[block]]
        sources = [i] if module.cut is None else range(len(blocks))[: module.cut]
        parts = [(k[own], v[own], here[own])] if module.cut is None else []
        for j in sources:
            some = moved[2][j, :, 0] > 0
            share = moved[2][j][some]
            parts.append((moved[0][j][some] / share, moved[1][j][some] / share, share))
        keys, values, counts = (torch.cat(each) for each in zip(*parts, strict=True))
        weights = (q[own] @ keys.T * q.shape[1] ** -0.5).exp() * counts.T
        outs.append(weights / weights.sum(1, keepdim=True) @ values)
    return torch.cat(blocks)[real[torch.cat(blocks)]], torch.cat(outs)
