"""Mega: moving average equipped gated attention (Ma et al. 2023, arXiv:2209.10655).

Equations by number are the paper's; facebookresearch/mega at aeaa4b4 is called the authors' code.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop_out
from torch.nn.functional import pad, scaled_dot_product_attention, silu

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, attendable, exact, lower_triangle
from lra.attention.shared.blocks import split
from lra.attention.shared.relative import shifted, sinusoids
from lra.attention.shared.toeplitz import convolve
from lra.core.errors import LRAError

INFO = Info(
    "state space", "Ma et al. 2023, arXiv:2209.10655", "O(N^2)", causal=True, other_weights=True
)
MEAN, DEVIATION = 0.5**0.5, (4 * torch.pi) ** -0.5  # of the function laplace
STD = 0.02  # of weights at the start, in the authors' code


class Attention(MultiHead):
    """One head of attention whose queries, keys and gates come from a moving average of x.

    x' = EMA(x), z = silu(W_z x'), q and k = z scaled and shifted, v = silu(W_v x)
    h = silu(W_h x' + U_h (silu(W_r x') * attention(q, k, v))), u = sigmoid(W_u x')
    out = u * (h - s), to which the encoder adds its stream s: equation 15 is u * h + (1 - u) * s.
    With pre-norm x is s normalised; where `forward` is given no stream it is x.

    function: of scores plus a bias of the distance; `laplace` divides q k^T by the number of keys.
    relative: that bias, `simple` (a parameter for each distance below max_len, or `chunk`) or
    `rotary` (a^T R_(j - i) b, R rotary positions' rotations and a, b parameters).
    chunk: attention within chunks of so many tokens, Mega-chunk, in O(N chunk); None: of all.
    truncation: lags of the moving average, as in the authors' code; None: all.
    ema_dim: its states for each feature. z_dim: width of q and k, by default half of dim, as in
    most of the authors' configurations. `qkv_dim` is v's width, which is 2 dim there. There is one
    head, so `heads` changes nothing.

    Different from the authors' code: W_z, W_v and U_h start and have biases as other mechanisms'
    projections, and `dropout` is that of attention weights alone.
    """

    gates_residual = True

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        function: Literal["softmax", "laplace"] = "softmax",
        relative: Literal["simple", "rotary"] = "simple",
        chunk: int | None = None,
        truncation: int | None = 1024,
        ema_dim: int = 16,
        z_dim: int | None = None,
    ) -> None:
        super().__init__(dim, 1, qkv_dim, dropout)
        width, size = self.value.out_features, z_dim or max(dim // 2, 2)
        if relative == "rotary" and size % 2:
            raise LRAError(f"options.z_dim: {size} is odd, and 'rotary' turns pairs")
        del self.key
        self.query = nn.Linear(dim, size, bias=False)  # W_z
        nn.init.xavier_uniform_(self.query.weight)
        self.gates = nn.Linear(dim, width + 2 * dim)  # W_r, W_u, W_h
        nn.init.normal_(self.gates.weight, std=STD)
        nn.init.zeros_(self.gates.bias)
        self.scale = nn.Parameter(torch.randn(2, size) * STD)
        self.shift = nn.Parameter(torch.zeros(2, size))
        self.causal, self.function, self.relative, self.chunk = causal, function, relative, chunk
        places = 2 * (chunk or max_len) - 1
        self.bias = nn.Parameter(torch.randn(places if relative == "simple" else (2, size)) * STD)
        self.ema = EMA(dim, ema_dim, truncation, causal)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, stream: Tensor | None = None
    ) -> Tensor:
        dim = x.shape[-1]
        average = self.ema(x, mask, self.by_head(x))
        reset, update, h = self.gates(average).split([self.value.out_features, dim, dim], dim=-1)
        z = silu(self.query(average))
        q, k = (z * scale + shift for scale, shift in zip(self.scale, self.shift, strict=True))
        context = self.attend(q, k, silu(self.value(x)), mask)
        h = silu(h + self.out(silu(reset) * context))
        return update.sigmoid() * (h - (x if stream is None else stream))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q, k (B, N, z), v (B, N, h) -> (B, N, h)"""
        n = q.shape[1]
        size = min(self.chunk or n, n)
        if mask is None and n % size:
            mask = all_real(q)  # the tail of the last chunk is padding
        q, k, v = (split(t, size).flatten(0, 1)[:, None] for t in (q, k, v))  # (B G, 1, S, ...)
        seen = None if mask is None else split(mask, size).flatten(0, 1)[:, None, None]
        if seen is not None and self.function == "softmax":
            seen = attendable(seen)
        if self.causal:
            seen = lower_triangle(size, q.device, seen)
        bias = self.by_distance(size)
        if self.function == "softmax":
            if seen is not None:
                bias = bias.masked_fill(~seen, -torch.inf)
            out = scaled_dot_product_attention(q, k, v, bias, self.drop)
        else:
            count = size if seen is None else seen.sum(-1, keepdim=True).clamp(min=1)
            weights = laplace(exact(q @ k.mT) / count + bias)
            weights = weights if seen is None else weights * seen
            out = drop_out(weights, self.drop) @ v
        return out.unflatten(0, (-1, -(-n // size))).flatten(1, 3)[:, :n]

    def by_distance(self, n: int) -> Tensor:
        """b_(j - i), (n, n)"""
        if self.relative == "simple":
            middle = len(self.bias) // 2  # distance 0
            if n > middle + 1:
                raise LRAError(f"options.relative: 'simple' has {middle + 1} distances, not {n}")
            bias = self.bias[middle + 1 - n : middle + n]
        else:
            (a, c), (b, d) = (t.chunk(2) for t in self.bias)
            places = torch.arange(1 - n, n, dtype=self.bias.dtype, device=self.bias.device)
            waves = torch.cat([c * b - a * d, a * b + c * d])
            bias = (sinusoids(places, len(waves)) * waves).sum(-1)
        return shifted(pad(bias, (0, 1)).expand(1, n, -1).contiguous())[0]


def laplace(x: Tensor) -> Tensor:
    """The paper's Laplace function: near squared relu, with values and slopes that are bounded."""
    return 0.5 * (1 + torch.erf((x - MEAN) / (DEVIATION * 2**0.5)))


class EMA(nn.Module):
    """silu(y + omega x), where y is the multi-dimensional damped moving average (section 3.1)

    Each feature has states s_t = p beta x_t + (1 - p a) s_(t-1), of p = sigmoid(delta) and
    a = sigmoid(alpha), and y_t = gamma . s_t / sqrt(states). A masked token is 0 in it. Without
    `causal` a second one with its own parameters runs backward, and both are added: each counts its
    own token, as in the authors' code. Scale, omega and silu are of that code, too.

    forward(x (B, N, dim), mask (B, N) or None, in_parts) -> (B, N, dim), see `convolve`
    """

    def __init__(self, dim: int, states: int, truncation: int | None, causal: bool) -> None:
        super().__init__()
        self.truncation = truncation
        shape = 1 if causal else 2, dim, states
        self.delta, self.alpha = (nn.Parameter(torch.randn(shape) * 0.2) for _ in range(2))
        signs = 1.0 - 2 * (torch.arange(states) % 2)
        self.beta = nn.Parameter(torch.randn(shape) * STD + signs)
        self.gamma = nn.Parameter(torch.randn(shape))
        self.omega = nn.Parameter(torch.randn(dim))

    def forward(self, x: Tensor, mask: Tensor | None, in_parts: bool = False) -> Tensor:
        real = x if mask is None else x * mask[:, :, None]
        kernels = self.kernels(min(self.truncation or x.shape[1], x.shape[1]))
        now = self.omega + kernels[1:, :, 0].sum(0)  # convolve has no lag 0 backward
        with torch.autocast(x.device.type, enabled=False):
            y = convolve(real.mT, *kernels, in_parts=in_parts).mT  # (B, N, dim)
            return silu(y + now * real)

    def kernels(self, lags: int) -> Tensor:
        """gamma . p beta (1 - p a)^t / sqrt(states) for t < lags, (1 or 2, dim, lags), in float32.

        A power is the product of one of a power of `step` and one below `step`, so that products of
        matrices take the place of exp for each lag, feature and state.
        """
        p = exact(self.delta).sigmoid()
        damped = (p * self.alpha.sigmoid()).clamp(max=1 - torch.finfo(p.dtype).eps)
        log_decay = torch.log1p(-damped)[..., None]  # (directions, dim, states, 1)
        start = self.gamma * p * self.beta * p.shape[-1] ** -0.5
        step = max(round(lags**0.5), 1)
        lag = torch.arange(max(step, -(-lags // step)), dtype=p.dtype, device=p.device)
        with torch.autocast(p.device.type, enabled=False):
            coarse = torch.exp(log_decay * (lag[: -(-lags // step)] * step)) * start[..., None]
            fine = torch.exp(log_decay * lag[:step])
            return (coarse.mT @ fine).flatten(2)[..., :lags]
