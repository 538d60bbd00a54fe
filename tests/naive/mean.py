"""Uniform mixing, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """The same from v (B, N, W), with the N x N weights: softmax of scores that are all 0.

    mask (B, N). A row that sees nothing gives 0.
    """
    batch, n, _ = v.shape
    allowed = torch.ones(batch, n, n, dtype=torch.bool)
    if causal:
        allowed = allowed.tril()
    if mask is not None:
        allowed = allowed & mask[:, None, :]
    scores = torch.zeros(batch, n, n, dtype=v.dtype).masked_fill(~allowed, -torch.inf)
    return scores.softmax(-1).nan_to_num(0.0) @ v
