"""Transformer-XL, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.xl import Attention
from naive.segments import per_pair


def attention(module: Attention, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same, example by example and segment by segment."""
    mask = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
    return torch.stack([_row(module, *row) for row in zip(x, mask, strict=True)])


def _row(module: Attention, x: Tensor, real: Tensor) -> Tensor:
    outs = []
    for start in range(0, len(x), module.segment):
        h, seen = (t[start : start + module.segment] for t in (x, real))
        first = max(0, start - module.memory_segments * module.segment)
        memory, remembered = x[first:start].detach(), real[first:start]
        both = torch.cat([memory, h])
        allowed = torch.cat([remembered, seen]).expand(len(h), -1)
        if module.causal:
            allowed = allowed.tril(diagonal=len(memory))
        allowed = allowed | ~allowed.any(dim=1, keepdim=True)
        q, k, v = module.query(h), module.key(both), module.value(both)
        outs.append(module.out(per_pair(module.relative, q, k, v, allowed)))
    return torch.cat(outs)
