"""No mixing between tokens: what the rest of the encoder reaches alone."""

from __future__ import annotations

from torch import Tensor

from lra.attention import Info
from lra.attention.base import MultiHead

INFO = Info("baseline", "a baseline of this project", "O(N)", causal=True)


class Attention(MultiHead):
    """v, projected: each token sees itself alone

    There are no queries and keys. `dropout` does nothing, for there are no weights to drop.
    """

    reach = 0

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        del self.query, self.key

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.out(self.value(x))
