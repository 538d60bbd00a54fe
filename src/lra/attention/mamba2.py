"""Mamba-2 (Dao and Gu 2024, arXiv:2405.21060), in both directions as Hydra (Hwang et al. 2024,
arXiv:2407.09941)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import linear, pad, softplus

from lra.attention import Info
from lra.attention.base import MultiHead, exact
from lra.attention.shared.convolution import ConvolveSilu
from lra.attention.shared.decay import initial_decay, quasiseparable
from lra.attention.shared.gated_norm import GatedNorm

INFO = Info(
    "gated recurrence", "Dao and Gu 2024, arXiv:2405.21060", "O(N)", causal=True, other_weights=True
)
WIDTHS = {True: 4, False: 7}  # tokens of the short convolutions, causal and not
EPS = 1e-5  # of the norm


class Attention(MultiHead):
    """h_t = exp(-a dt_t) h_(t-1) + dt_t B_t x_t^T, y_t = C_t h_t, per head with a, dt scalars

    x, B and C are short convolutions of projections of the input, B and C (`state` wide) shared by
    all heads. x is `expand` times as wide as queries and keys of attention would be. The output is
    normed and gated by another projection. `key` makes B, `query` C and `value` x, for without
    decay this is attention with linear scores.

    Without `causal`, a second recurrence runs from the last token to the first, with B, C and dt of
    its own. Each output takes both recurrences' outputs at its neighbours, the one before and the
    one after it, and its own x times a scalar per head, linear in x (Hydra, section 3 and
    hydra/modules/hydra.py at 0daa208).

    dt is 0 at masked tokens: nothing enters, nothing decays. In float32 under autocast, but for the
    projections. Different from Hydra's code: a starts at 1 to 16, as Mamba-2's. `dropout` does
    nothing.
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
        state: int = 64,
        expand: int = 2,
    ) -> None:
        width = expand * (qkv_dim or dim)
        super().__init__(dim, heads, width, dropout)
        self.causal, self.directions = causal, 1 if causal else 2
        self.query = nn.Linear(dim, self.directions * state, bias=False)
        self.key = nn.Linear(dim, self.directions * state, bias=False)
        self.gate = nn.Linear(dim, width, bias=False)
        for projection in (self.query, self.key, self.gate):
            nn.init.xavier_uniform_(projection.weight)
        self.step = nn.Linear(dim, self.directions * heads, bias=False)
        self.value_conv, self.key_conv, self.query_conv = (
            ShortConvolution(p.out_features, causal) for p in (self.value, self.key, self.query)
        )
        self.a_log, self.dt_bias = map(nn.Parameter, initial_decay(heads))
        self.skip = nn.Parameter(torch.ones(heads))  # the scalar of a token's own x
        if not causal:
            self.own = nn.Linear(width, heads, bias=False)  # what it is besides
        self.norm = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        projections = (self.value, self.key, self.query, self.step, self.gate)
        v, k, q, dt, gate = (exact(p(x)) for p in projections)
        with torch.autocast(x.device.type, enabled=False):
            real = None if mask is None else mask[:, :, None]
            v, k, q = (
                conv(t if real is None else t * real)
                for conv, t in ((self.value_conv, v), (self.key_conv, k), (self.query_conv, q))
            )
            dt = softplus(dt.unflatten(2, (self.directions, -1)) + self.dt_bias)
            if real is not None:
                dt = dt * real[..., None]
            y = self.mix(v.unflatten(2, (self.heads, -1)), k, q, dt, self.diagonal(v))
            # Mamba-2 gates before the norm, Hydra after it
            out = GatedNorm.apply(y.flatten(2), gate, EPS, self.causal)
        return linear(out, self.out.weight * self.norm, self.out.bias)  # the norm's weights, too

    def mix(self, v: Tensor, k: Tensor, q: Tensor, dt: Tensor, diagonal: Tensor) -> Tensor:
        """v (B, N, H, P), k, q (B, N, directions K), dt (B, N, directions, H) -> (B, N, H, P)"""
        dt = rearrange(dt, "b n side h -> side h b n").contiguous()
        decay = -self.a_log.exp()[:, None, None] * dt
        if self.causal:
            sides = [(q, k, dt[0], decay[0])]
        else:
            (q, q_back), (k, k_back) = (t.chunk(2, dim=2) for t in (q, k))
            # a token takes what its neighbours read
            q, q_back = pad(q[:, :-1], (0, 0, 1, 0)), pad(q_back[:, 1:], (0, 0, 0, 1))
            sides = zip((q, q_back), (k, k_back), dt, decay, strict=True)
        at_once = 1 if self.by_head(v) else self.heads
        return quasiseparable(v, diagonal, *sides, reads_own=self.causal, at_once=at_once)

    def diagonal(self, v: Tensor) -> Tensor:
        """What a token's own v counts besides: v (B, N, H P) -> (H, B, N), causal (H, 1, 1)"""
        skip = self.skip[:, None, None]
        return skip if self.causal else rearrange(self.own(v), "b n h -> h b n") + skip


class ShortConvolution(nn.Module):
    """silu of a convolution along the tokens, each channel with its own kernel: (B, N, channels)

    Causal: a token sees itself and those before it; else as many on either side. Kernel and bias
    start as torch's.
    """

    def __init__(self, channels: int, causal: bool) -> None:
        super().__init__()
        width = WIDTHS[causal]
        self.before = width - 1 if causal else width // 2
        self.kernel = nn.Parameter(torch.empty(width, channels))
        self.bias = nn.Parameter(torch.empty(channels))
        for parameter in (self.kernel, self.bias):
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return ConvolveSilu.apply(x, self.kernel, self.bias, self.before, True)
