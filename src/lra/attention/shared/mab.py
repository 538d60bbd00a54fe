"""Set Transformer's multihead attention block (Lee et al. 2019, arXiv:1810.00825, section 3.1)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from lra.attention.base import MultiHead, allowed_keys


class MAB(MultiHead):
    """MAB(X, Y) = LN(A + rFF(A)) with A = LN(X + Multihead(X, Y, Y)) (equations 6 and 7)

    rFF is one layer with ReLU, as in the authors' code. That code differs from the paper in three
    points, where this class follows the paper: it adds the projected queries in place of X, does
    not project the heads' outputs, and divides scores by sqrt(dim), not by sqrt(D).
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
        """x (B, M, dim) attends to the real tokens of y (B, N, dim), mask (B, N) -> (B, M, dim)"""
        x = self.attention_norm(x + cross(self, x, y, mask))
        return self.norm(x + relu(self.feed_forward(x)))


def cross(layer: MultiHead, x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multihead(X, Y, Y) by a layer's projections: x (B, M, dim), y (B, N, dim) -> (B, M, dim)"""
    pairs = ((layer.query, x), (layer.key, y), (layer.value, y))
    q, k, v = (layer.split_heads(p(t)) for p, t in pairs)
    return layer.merge(scaled_dot_product_attention(q, k, v, allowed_keys(mask), layer.drop))
