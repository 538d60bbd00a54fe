"""minGRU (Feng et al. 2024, arXiv:2410.01201, section 3.1 and appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention import Info
from lra.attention.base import MultiHead, exact
from lra.attention.shared.scan import Scan

INFO = Info("gated recurrence", "Feng et al. 2024, arXiv:2410.01201", "O(N)", causal=True)


class Attention(MultiHead):
    """h_t = (1 - z_t) h_(t-1) + z_t c_t, each channel by itself"""

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
        if causal:
            del self.key

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        c = exact(self.value(x))
        c = torch.where(c >= 0, c + 0.5, c.sigmoid())
        gates = [self.query] if not hasattr(self, "key") else [self.query, self.key]
        out = 0
        for i, p in enumerate(gates):
            z = exact(p(x))
            if mask is not None:
                z = z.masked_fill(~mask[:, :, None], -torch.inf)
            out = out + Scan.apply((-z).sigmoid(), z.sigmoid() * c, i == 1)
        return self.out(out)
