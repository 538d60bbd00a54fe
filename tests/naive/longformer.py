"""Longformer, by definition."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from lra.attention.base import attendable
from lra.attention.longformer import Attention


def attention(
    module: Attention, x: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """The same by N x N masks: once with each set of projections."""
    n = x.shape[1]
    mask = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
    i, j = torch.arange(n)[:, None], torch.arange(n)
    if causal:
        seen = (j <= i) & (j >= i - module.before)
    else:
        seen = ((i - j).abs() <= module.before) | (j < module.global_tokens)
    out = _full(module, x, seen & mask[:, None, None], "")
    if module.global_tokens:
        everywhere = _full(module, x, mask[:, None, None], "global_")
        out = torch.where(i < module.global_tokens, everywhere, out)
    return module.out(out)


def _full(module: Attention, x: Tensor, allowed: Tensor, prefix: str) -> Tensor:
    """Full attention (B, N, E) where allowed (B, 1, N or 1, N)."""
    projections = (getattr(module, prefix + name) for name in ("query", "key", "value"))
    q, k, v = (rearrange(p(x), "b n (h d) -> b h n d", h=module.heads) for p in projections)
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~attendable(allowed), -torch.inf)
    return rearrange(scores.softmax(-1) @ v, "b h n d -> b n (h d)")
