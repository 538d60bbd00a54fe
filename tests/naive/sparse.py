"""Sparse Transformer, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.base import attendable


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    pattern: str,
    stride: int,
    summary: int,
    causal: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """The same from q, k, v (B, H, N, D) by an N x N mask; i is a query, j a key."""
    j = torch.arange(q.shape[2])
    i = j[:, None]
    if pattern == "fixed":
        allowed = (j // stride == i // stride) | (j % stride >= stride - summary)
    else:
        allowed = ((i - j).abs() <= stride) | ((i - j) % stride == 0)
    if causal:
        allowed &= j <= i
    if mask is not None:
        allowed = attendable(allowed & mask[:, None, None, :])
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~allowed, -torch.inf)
    return scores.softmax(-1) @ v
