"""Rotary positions and ALiBi, by definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention(
    q: Tensor, k: Tensor, v: Tensor, positions: str, mask: Tensor | None, causal: bool
) -> Tensor:
    """From q, k, v (B, H, N, D) and mask (B, N), with all scores; a row that sees nothing is zero."""
    n, size = q.shape[2:]
    if positions == "rotary":
        matrices = torch.stack([rotation(i, size) for i in range(n)])  # (N, D, D)
        q, k = (torch.einsum("nde,bhne->bhnd", matrices, t) for t in (q, k))
    scores = q @ k.mT / math.sqrt(size)
    if positions == "alibi":
        place = torch.arange(n)
        scores = scores - slopes(q.shape[1])[:, None, None] * (place[:, None] - place).abs()
    seen = torch.ones(n, n, dtype=torch.bool)
    seen = seen.tril() if causal else seen
    seen = seen if mask is None else seen & mask[:, None, None, :]
    return scores.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num() @ v


def rotation(i: int, size: int) -> Tensor:
    """R_i (D, D) of equation 15: a 2 x 2 rotation by i theta_m for each pair m."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for m in range(size // 2):
        angle = i * 10_000 ** (-2 * m / size)
        cos, sin = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
        matrix[2 * m : 2 * m + 2, 2 * m : 2 * m + 2] = turn
    return matrix


def slopes(heads: int) -> Tensor:
    """The paper's, of a number of heads that is a power of 2: a sequence from 2^(-8 / H) with that
    ratio."""
    ratio = 2 ** (-8 / heads)
    return torch.tensor([ratio ** (h + 1) for h in range(heads)], dtype=torch.float64)
