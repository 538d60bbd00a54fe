"""Synthesizer, by definition."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lra.attention.base import attendable, lower_triangle
from lra.attention.synthesizer import Attention


def attention(layer: Attention, x: Tensor, real: Tensor) -> Tensor:
    """One example, x (N, dim) and real (N,) -> (N, dim), a head and a part at a time."""
    n, heads = len(x), []
    size = layer.value.out_features // layer.heads
    allowed = attendable(real).expand(n, n)
    if layer.causal:
        allowed = lower_triangle(n, x.device, allowed)
    for head in range(layer.heads):
        rows = slice(head * size, (head + 1) * size)
        scores = torch.zeros(n, n, dtype=x.dtype)
        for part, share in layer.shares().items():
            if part == "dot":
                q, k = (x @ linear.weight[rows].T for linear in (layer.query, layer.key))
                scores = scores + share * q @ k.T / math.sqrt(size)
                continue
            first, *second = (matrix[head] for matrix in layer.matrices[part])
            if part == "factorised-random":
                scores = scores + share * (first @ second[0].T)[:n, :n]
            elif part in ("random", "fixed-random"):
                scores = scores + share * first[:n, :n]
            else:
                hidden = (x @ layer.hidden.weight[rows].T).relu()
                if part == "dense":
                    made = (hidden @ first)[:, :n]
                else:
                    a, b = hidden @ first, hidden @ second[0]
                    width = b.shape[1]
                    made = torch.stack([a[:, j // width] * b[:, j % width] for j in range(n)], 1)
                scores = scores + share * made
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(-1)
        heads.append(weights @ (x @ layer.value.weight[rows].T))
    return layer.out(torch.cat(heads, dim=1))
