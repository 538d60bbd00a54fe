"""S4D, a diagonal state space for each channel (Gu et al. 2022, arXiv:2206.11893)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad
from torch.utils.checkpoint import checkpoint

from lra.attention import Info
from lra.attention.base import MultiHead
from lra.attention.shared.hippo import frequencies
from lra.attention.shared.toeplitz import convolve
from lra.core.errors import LRAError

CHANNELS = 128  # whose kernels a CPU makes at once

INFO = Info(
    "state space", "Gu et al. 2022, arXiv:2206.11893", "O(N log N)", causal=True, other_weights=True
)


class Attention(MultiHead):
    """gelu(v convolved with K, channel by channel, + D v), v and the output projected

    K_l = 2 Re sum over poles a of c (exp(dt a) - 1) / a exp(dt a l): equation 6 of a system held
    over each step (zero-order hold) with input weights of 1, of which `state` / 2 conjugate pairs
    of poles are kept. A token `l` steps later has the same kernel of its own c, from l = 1; the
    authors' backward kernel starts there with K_0, which c can make up for. Poles start as
    S4D-LegS, -Inv or -Lin (section 4), dt log-uniform from dt_min to dt_max.

    The layer of state-spaces/s4 (models/s4/s4d.py) without what is its block's: the gated output.
    projections: False is that layer's own v = x and output, without the projections and gelu, which
    a block with a GLU has; qkv_dim does nothing then.
    `heads` is not used, for the paper has none. `dropout` does nothing: there are no weights.
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
        poles: Literal["legs", "inv", "lin"] = "legs",
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        projections: bool = True,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        if state % 2:
            raise LRAError(f"options.state: {state} is odd; poles come in pairs: {state + 1} does")
        del self.query, self.key
        self.projections = projections
        width, pairs = self.value.out_features if projections else dim, state // 2
        if not projections:
            del self.value, self.out
        low, high = math.log(dt_min), math.log(dt_max)
        self.log_dt = nn.Parameter(low + (high - low) * torch.rand(width))
        self.a_log = nn.Parameter(torch.full((width, pairs), math.log(0.5)))  # of -Re a
        self.a_imag = nn.Parameter(imaginary(poles, state).repeat(width, 1))
        directions = 1 if causal else 2
        # real and imaginary parts, of variance 1 together
        self.c = nn.Parameter(torch.randn(directions, width, pairs, 2) / math.sqrt(2))
        self.d = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        v = self.value(x) if self.projections else x  # (B, N, C)
        if mask is not None:
            v = v * mask[:, :, None]
        with torch.autocast(x.device.type, enabled=False):
            y = self.mix(v, in_parts=self.by_head(x))
        return self.out(gelu(y)) if self.projections else y

    def mix(self, v: Tensor, in_parts: bool) -> Tensor:
        """v (B, N, C) convolved, plus D v, (B, N, C). The kernels are freed when this returns.

        What they are made of is as large as several v of 1,024 tokens: it is made again for the
        gradients, and CHANNELS after CHANNELS `in_parts`.
        """
        n, width = v.shape[1:]
        size = CHANNELS if in_parts else width
        parts = [
            checkpoint(
                self.kernels,
                n,
                slice(first, first + size),
                use_reentrant=False,
                preserve_rng_state=False,  # nothing is drawn
            )
            for first in range(0, width, size)
        ]
        forward, *back = torch.cat(parts, dim=1)
        forward = forward + pad(self.d[:, None], (0, n - 1))  # D v is of lag 0
        return convolve(v.mT, forward, *back, in_parts=in_parts).mT

    def kernels(self, n: int, channels: slice = slice(None)) -> Tensor:
        """K_0 to K_{n-1} of each direction and some channels C, (1 or 2, C, n).

        exp(dt a l) is a product of two powers, to the last multiple of `size` and from there, so
        that no tensor (C, pairs, n) is made.
        """
        a = torch.complex(-self.a_log[channels].exp(), self.a_imag[channels])  # (C, pairs)
        step = self.log_dt[channels].exp()[:, None] * a
        c = torch.view_as_complex(self.c[:, channels])  # (directions, C, pairs)
        c = 2 * c * (step.expm1() / a)
        size = 1 << n.bit_length() // 2
        lags = torch.arange(size, device=a.device, dtype=self.log_dt.dtype)
        starts = torch.arange(0, n, size, device=a.device, dtype=self.log_dt.dtype)
        left = c.transpose(0, 1)[:, :, None] * powers(step, starts)[:, None]
        left = left.flatten(1, 2)  # (C, directions starts, pairs)
        # the conjugate, so that a product of reals is the real part
        right = powers(step.conj(), lags)  # (C, size, pairs)
        left, right = (torch.view_as_real(t).flatten(2) for t in (left, right))  # (..., state)
        kernels = (left @ right.mT).unflatten(1, (-1, len(starts))).flatten(2)
        return kernels.transpose(0, 1)[..., :n]


def powers(step: Tensor, counts: Tensor) -> Tensor:
    """exp(count step): step (C, pairs), counts (L,) -> (C, L, pairs)"""
    size = (counts[:, None] * step.real[:, None]).exp()
    angle = counts[:, None] * step.imag[:, None]
    # a tenth of the time that an exponential of complex numbers takes on a CPU
    return torch.complex(size * angle.cos(), size * angle.sin())


def imaginary(poles: str, state: int) -> Tensor:
    """The imaginary parts (state / 2,) that the poles of S4D-LegS, -Inv or -Lin start with."""
    n = torch.arange(state // 2)
    if poles == "lin":
        return math.pi * n
    if poles == "inv":
        return state / math.pi * (state / (2 * n + 1) - 1)
    return frequencies(state)
