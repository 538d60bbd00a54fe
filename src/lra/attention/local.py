"""Local attention: contiguous blocks without overlap (Tay et al. 2020, arXiv:2011.04006, sec. 3).

The official code takes block_size positions that lie N / block_size apart as a block. Here a block
is contiguous, as in the paper.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, attendable, lower_triangle, pad_length

INFO = Info("fixed pattern", "Tay et al. 2020, arXiv:2011.04006", "O(N block_size)", causal=True)


class Attention(MultiHead):
    """Softmax attention within blocks of `block_size` tokens."""

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        block_size: int = 50,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.block_size = causal, block_size

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, block = x.shape[1], min(self.block_size, x.shape[1])
        if mask is None and n % block:
            mask = all_real(x)  # the tail of the last block is padding
        x = pad_length(x, block, dim=1)
        q, k, v = (
            rearrange(t, "b h (g s) d -> (b g) h s d", s=block) for t in self.project(x)
        )  # (B * blocks, H, block, D)
        allowed = None
        if mask is not None:
            allowed = rearrange(pad_length(mask, block, dim=1), "b (g s) -> (b g) 1 1 s", s=block)
            allowed = attendable(allowed)
        if self.causal and allowed is not None:
            allowed = lower_triangle(block, x.device, allowed)
        causal = self.causal and allowed is None
        out = scaled_dot_product_attention(q, k, v, allowed, self.drop, is_causal=causal)
        out = rearrange(out, "(b g) h s d -> b h (g s) d", s=block, g=x.shape[1] // block)
        return self.merge(out[:, :, :n])
