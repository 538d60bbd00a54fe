"""Linear Transformer, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.linear import EPS


def attention(q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
    """The same from features q, k and v (B, H, N, D), with the N x N similarities."""
    similarity = q @ k.mT
    if causal:
        similarity = torch.tril(similarity)
    return similarity @ v / (similarity.sum(-1, keepdim=True) + EPS)
