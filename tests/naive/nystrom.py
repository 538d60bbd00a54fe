"""Nystromformer, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.nystrom import pseudo_inverse


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
