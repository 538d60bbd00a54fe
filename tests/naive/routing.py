"""Routing Transformer, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    centroids: Tensor,
    mask: Tensor,
    window: int | None,
    causal: bool = False,
) -> Tensor:
    """The same, cluster by cluster, from normalised q and k and v (B, N, H, D), mask (B, N)."""
    out, times = torch.zeros_like(v), torch.zeros_like(v[..., :1])
    for b, h in torch.cartesian_prod(torch.arange(len(q)), torch.arange(q.shape[2])).tolist():
        real = mask[b].nonzero().flatten()
        width = min(window or -(-len(real) // len(centroids[h])), len(real))
        for centroid in centroids[h]:
            of_q, of_k = (
                real[(t[b, real, h] @ centroid).argsort(descending=True)[:width]] for t in (q, k)
            )
            scores = q[b, of_q, h] @ k[b, of_k, h].T * q.shape[-1] ** -0.5
            if causal:
                scores = scores.masked_fill(of_k > of_q[:, None], -torch.inf)
            outputs = scores.softmax(-1) @ v[b, of_k, h]
            for i, output in zip(of_q.tolist(), outputs, strict=True):
                out[b, i, h] = out[b, i, h] + output
                times[b, i, h] += 1
    return out / times.clamp(min=1)
