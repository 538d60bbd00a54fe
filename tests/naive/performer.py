"""Performer, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.performer import RELU_EPS


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    projection: Tensor | None,
    mask: Tensor,
    kernel: str,
    causal: bool,
) -> Tensor:
    """The same from q, k, v (B, H, N, D) and mask (B, N), with the N x N similarities."""

    def phi(x: Tensor) -> Tensor:
        if kernel == "relu-unprojected":
            return x.clamp(min=0) + RELU_EPS
        x = x * x.shape[-1] ** -0.25
        if kernel == "relu":
            return (x @ projection.T).relu() + RELU_EPS
        return (x @ projection.T - x.square().sum(-1, keepdim=True) / 2).exp()

    similarity = phi(q) @ phi(k).mT * mask[:, None, None, :]
    if causal:
        similarity = torch.tril(similarity)
    total = similarity.sum(-1, keepdim=True)
    return similarity @ v / total.masked_fill(total == 0, 1)
