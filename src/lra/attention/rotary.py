"""Full softmax attention that knows distances: rotary positions, or ALiBi.

Rotary position embedding: Su et al. 2021 (RoFormer, arXiv:2104.09864, equations 14 to 16 and 34).
ALiBi: Press et al. 2022 (arXiv:2108.12409, section 3).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, allowed_keys, lower_triangle
from lra.attention.shared.relative import sinusoids
from lra.attention.shared.rotation import rotate
from lra.core.errors import LRAError

INFO = Info("full", "Su et al. 2021, arXiv:2104.09864", "O(N^2)", causal=True)


class Attention(MultiHead):
    """softmax(q k^T / sqrt(D) + distances) v, by torch's fused kernel

    positions: `rotary` turns q and k of position i by angles in proportion to i, so that a score
    depends on positions only through their difference. `alibi` adds -slope |i - j| to scores, one
    slope a head; the paper has i >= j only, its authors the absolute value for encoders. This bias
    is an N x N tensor for each head, and for each example, too, where there is a mask.
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
        positions: Literal["rotary", "alibi"] = "rotary",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.positions = causal, positions
        size = (qkv_dim or dim) // heads
        if positions == "rotary" and size % 2:
            raise LRAError(f"options.positions: 'rotary' turns pairs, and a head's {size} are odd")
        if positions == "alibi":
            self.register_buffer("slopes", torch.tensor(slopes(heads)), persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.project(x)  # (B, H, N, D)
        n, alibi = x.shape[1], self.positions == "alibi"
        if not alibi:
            turns = rotations(n, q.shape[-1], x.device)
            q, k = rotate(q, turns), rotate(k, turns)
        allowed = allowed_keys(mask)
        if self.causal and (mask is not None or alibi):
            allowed = lower_triangle(n, x.device, allowed)
        if alibi:
            bias = distances(n, self.slopes)  # (H, N, N)
            allowed = bias if allowed is None else bias.masked_fill(~allowed, -torch.inf)
        causal = self.causal and allowed is None
        out = scaled_dot_product_attention(q, k, v, allowed, self.drop, is_causal=causal)
        return self.merge(out)


def rotations(n: int, size: int, device: torch.device, first: int = 0) -> Tensor:
    """e^(i t r), complex (N, D / 2), of N positions t from `first` on and rates
    r = 10,000^(-2 i / D), i from 0"""
    positions = torch.arange(first, first + n, dtype=torch.float64, device=device)
    sines, cosines = sinusoids(positions, size).chunk(2, dim=1)
    return torch.complex(cosines, sines)


def distances(n: int, slopes: Tensor) -> Tensor:
    """-slope |i - j| (H, N, N)"""
    steps = torch.arange(n, dtype=slopes.dtype, device=slopes.device)
    return (steps[:, None] - steps).abs() * -slopes[:, None, None]


def slopes(heads: int) -> list[float]:
    """2^(-8 / H), 2^(-16 / H), ..., 2^-8; where H is no power of 2, those of the power below, then
    every other one of the power above, as in the authors' code"""
    power = 1 << (heads.bit_length() - 1)
    many = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    return many if heads == power else many + slopes(2 * power)[::2][: heads - power]
