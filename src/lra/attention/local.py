"""Local attention: contiguous blocks without overlap (Tay et al. 2020, arXiv:2011.04006, sec. 3).

google-research/long-range-arena takes positions that lie N / block_size apart as a block, which
`variant: official` does. Different from that code: it masks a key by another token's padding (its
mask is cut into contiguous blocks), and a query so masked sees its whole block uniformly. Without
padding there is no difference.
"""

from __future__ import annotations

from typing import Literal

from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, attendable, lower_triangle, pad_length
from lra.attention.shared import arena

INFO = Info("fixed pattern", "Tay et al. 2020, arXiv:2011.04006", "O(N block_size)", causal=True)


class Attention(MultiHead):
    """Softmax attention within blocks of `block_size` tokens.

    variant: `paper` has contiguous blocks. `official` has strided ones, and keys of zeros at the
    end (lra.attention.shared.arena.local).
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
        block_size: int = 50,
        variant: Literal["paper", "official"] = "paper",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.block_size, self.variant = causal, block_size, variant
        self.max_len = max_len

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.variant == "official":
            q, k, v = self.query(x), self.key(x), self.value(x)
            sizes = self.heads, self.max_len, self.block_size
            return self.out(arena.local(q, k, v, mask, *sizes, self.causal, self.drop))
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
