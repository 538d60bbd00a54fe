"""Reformer, by definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention(
    q: Tensor, v: Tensor, buckets: Tensor, mask: Tensor, chunk: int, causal: bool = False
) -> Tensor:
    """The same, one query at a time, as in appendix A; q, v (B, N, H, D), mask (B, N)."""
    out = torch.zeros_like(v)
    for b, h in torch.cartesian_prod(torch.arange(len(q)), torch.arange(q.shape[2])).tolist():
        real = mask[b].nonzero().flatten().tolist()
        k = q[b, :, h] / (q[b, :, h].square().mean(dim=-1, keepdim=True) + 1e-6).sqrt()
        seen: list[dict[int, list[int]]] = []  # of each round: P_i of every query i
        for hashed in buckets[:, b, h].tolist():
            s = {j: at // chunk for at, j in enumerate(sorted(real, key=lambda j: (hashed[j], j)))}
            same = {i: [j for j in real if hashed[i] == hashed[j]] for i in real}
            near = {i: [j for j in same[i] if s[i] - 1 <= s[j] <= s[i]] for i in real}
            seen.append({i: [j for j in near[i] if j <= i or not causal] for i in real})
        for i in real:
            scores, values = [], []
            for p in seen:
                for j in p[i]:
                    n_ij = sum(j in other[i] for other in seen)
                    m = 1e5 if i == j else math.log(n_ij)
                    scores.append(q[b, i, h] @ k[j] * q.shape[-1] ** -0.5 - m)
                    values.append(v[b, j, h])
            out[b, i, h] = torch.stack(scores).softmax(0) @ torch.stack(values)
    return out
