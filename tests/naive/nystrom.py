"""Nystromformer, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(
    q: Tensor, k: Tensor, v: Tensor, real: Tensor, landmarks: int, iterations: int
) -> Tensor:
    """Equation 13 for one head of one example: q, k, v (N, D), real (N,) with some real token.

    Returns the outputs (N, D) of all tokens.
    """
    kept = real.nonzero()[:, 0]
    count = min(landmarks, len(kept))
    segment = torch.arange(len(kept)) * count // len(kept)
    segments = [kept[segment == number] for number in range(count)]
    short_q, short_k = (torch.stack([t[s].mean(0) for s in segments]) for t in (q, k))
    first, middle, last = (
        (a @ b.T * q.shape[1] ** -0.5).softmax(-1)
        for a, b in ((q, short_k), (short_q, short_k), (short_q, k[kept]))
    )
    return first @ pseudo_inverse(middle, iterations) @ last @ v[kept]


def pseudo_inverse(a: Tensor, iterations: int) -> Tensor:
    """Equation 11 for one matrix a (M, M)."""
    z = a.T / a.sum(0).max() / a.sum(1).max()
    one = torch.eye(len(a), dtype=a.dtype)
    for _ in range(iterations):
        n = a @ z
        z = z @ (13 * one - n @ (15 * one - n @ (7 * one - n))) / 4
    return z
