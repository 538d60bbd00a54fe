"""Full softmax attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop_out
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, allowed_keys, lower_triangle

INFO = Info("full", "Vaswani et al. 2017, arXiv:1706.03762", "O(N^2)", causal=True)


class Attention(MultiHead):
    """softmax(q k^T / sqrt(D)) v

    kernel: `fused` never holds the N x N weights (on CPU only without dropout). `materialised`
    does, like the code behind the paper's efficiency table. The results agree up to rounding.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        kernel: Literal["fused", "materialised"] = "fused",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.kernel = causal, kernel

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x)  # (B, H, N, D)
        allowed = allowed_keys(mask)
        if self.causal and (mask is not None or self.kernel == "materialised"):
            allowed = lower_triangle(x.shape[1], x.device, allowed)
        if self.kernel == "materialised":
            return self.merge(materialised(q, k, v, allowed, self.drop))
        causal = self.causal and mask is None
        out = scaled_dot_product_attention(q, k, v, allowed, self.drop, is_causal=causal)
        return self.merge(out)


def materialised(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, dropout: float) -> Tensor:
    """The same with all weights in memory; allowed broadcasts to (B, H, N, N)."""
    scores = q @ k.mT * q.shape[-1] ** -0.5  # (B, H, N, N)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    return drop_out(scores.softmax(-1), dropout) @ v
