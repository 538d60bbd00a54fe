"""Set Transformer's multihead attention block, by definition."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import relu

from lra.attention.base import MultiHead
from lra.attention.shared.mab import MAB


def cross(layer: MultiHead, x: Tensor, y: Tensor) -> Tensor:
    """Multihead(X, Y, Y), head by head, for one example: x (M, dim), y (N, dim)."""
    size = layer.query.out_features // layer.heads
    outs = []
    for head in range(layer.heads):
        rows = slice(head * size, (head + 1) * size)
        q, k, v = (p(t)[:, rows] for p, t in
                   ((layer.query, x), (layer.key, y), (layer.value, y)))  # fmt: skip
        outs.append((q @ k.T * size**-0.5).softmax(-1) @ v)
    return layer.out(torch.cat(outs, dim=1))


def block(layer: MAB, x: Tensor, y: Tensor) -> Tensor:
    """MAB(X, Y) for one example: x (M, dim), y (N, dim)."""
    x = layer.attention_norm(x + cross(layer, x, y))
    return layer.norm(x + relu(layer.feed_forward(x)))
