"""Set Transformer's multihead attention block (Lee et al. 2019, arXiv:1810.00825, section 3.1)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from lra.attention.base import MultiHead, attendable


class MAB(MultiHead):
    """MAB(X, Y) = LN(A + rFF(A)) with A = LN(X + Multihead(X, Y, Y)) (equations 6 and 7)

    rFF is one layer with ReLU, as in the authors' code. That code adds the projected queries where
    the paper adds X, has no projection of the heads' outputs, and divides scores by the square root
    of dim instead of one head's size; here all three are as in the paper.
    """

    def __init__(
        self, dim: int, heads: int, qkv_dim: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.attention_norm = nn.LayerNorm(dim, eps=1e-6)
        self.feed_forward = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        nn.init.xavier_uniform_(self.feed_forward.weight)
        nn.init.zeros_(self.feed_forward.bias)

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, M, dim) looks at the real tokens of y (B, N, dim), mask (B, N) -> (B, M, dim)"""
        x = self.attention_norm(x + cross(self, x, y, mask))
        return self.norm(x + relu(self.feed_forward(x)))


def cross(layer: MultiHead, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multihead(X, Y, Y) by a layer's projections: x (B, M, dim), y (B, N, dim) -> (B, M, dim)"""
    pairs = ((layer.query, x), (layer.key, y), (layer.value, y))
    q, k, v = (rearrange(p(t), "b n (h d) -> b h n d", h=layer.heads) for p, t in pairs)
    allowed = None if mask is None else attendable(mask)[:, None, None, :]  # (B, 1, 1, N)
    return layer.merge(scaled_dot_product_attention(q, k, v, allowed, layer.drop))


def naive(layer: MultiHead, x: Tensor, y: Tensor) -> Tensor:
    """Multihead(X, Y, Y), head by head, for one example: x (M, dim), y (N, dim)."""
    size = layer.query.out_features // layer.heads
    outs = []
    for head in range(layer.heads):
        rows = slice(head * size, (head + 1) * size)
        q, k, v = (t @ p.weight[rows].T for p, t in
                   ((layer.query, x), (layer.key, y), (layer.value, y)))  # fmt: skip
        outs.append((q @ k.T * size**-0.5).softmax(-1) @ v)
    return layer.out(torch.cat(outs, dim=1))


def naive_block(block: MAB, x: Tensor, y: Tensor) -> Tensor:
    """MAB(X, Y) for one example: x (M, dim), y (N, dim)."""
    x = block.attention_norm(x + naive(block, x, y))
    return block.norm(x + relu(block.feed_forward(x)))
