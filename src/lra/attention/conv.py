"""Depthwise convolution of a few tokens: what locality alone gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lra.attention import Info
from lra.attention.base import MultiHead

INFO = Info("baseline", "a baseline of this project", "O(N width)", causal=True)


class Attention(MultiHead):
    """v convolved along the tokens, each channel with its own kernel of `width` tokens

    A token sees width // 2 tokens before it, itself and the rest after it; causal: width - 1 before
    it and itself. There are zeros beyond the ends and in place of padding. The kernel starts as
    torch's convolutions do, uniform within 1 / sqrt(width). `dropout` does nothing.
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
        width: int = 5,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        del self.query, self.key
        self.before = width - 1 if causal else width // 2
        self.reach = max(self.before, width - 1 - self.before)
        self.kernel = nn.Parameter(torch.empty(width, qkv_dim or dim))
        nn.init.uniform_(self.kernel, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        v = self.value(x)  # (B, N, H D)
        if mask is not None:
            v = v * mask[:, :, None]
        n, width = x.shape[1], len(self.kernel)
        v = pad(v, (0, 0, self.before, width - 1 - self.before))
        # a sum over `width` shifts: torch 2.13's own has wrong gradients (nystrom.convolve)
        return self.out(sum(v[:, i : i + n] * tap for i, tap in enumerate(self.kernel)))
