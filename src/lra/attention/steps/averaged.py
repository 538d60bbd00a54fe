"""Linear recurrences whose decays are constant: s4d, s5 and LRU, and the moving average of mega."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, pad, silu

from lra.attention.base import exact
from lra.attention.mega import laplace
from lra.attention.shared.relative import sinusoids
from lra.attention.steps.base import State, Steps, append, attend, cached, last
from lra.attention.steps.cached import Cached
from lra.core.errors import LRAError

CHUNK = 128  # tokens of which powers of a decay are made


class S4D(Steps):
    """Complex states (B, C, state / 2): s_t = exp(dt a) s_(t-1) + v_t"""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        a = torch.complex(-layer.a_log.exp(), layer.a_imag)  # (C, pairs)
        step = layer.log_dt.exp()[:, None] * a
        self.decay = step.exp()
        self.c = 2 * torch.view_as_complex(layer.c[0]) * (step.expm1() / a)

    def value(self, x: Tensor) -> Tensor:
        return self.layer.value(x) if self.layer.projections else x

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        return (discounted(self.value(x), self.decay),)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        v = self.value(x)  # (B, 1, C)
        s = state.tensors[0] * self.decay + v.mT
        y = (self.c * s).real.sum(-1)[:, None] + self.layer.d * v
        return (self.layer.out(gelu(y)) if self.layer.projections else y), (s,)


class S5(Steps):
    """Complex states (B, P) of all channels: s_t = lambda s_(t-1) + B v_t"""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.decay, gain = layer.poles()  # (P,)
        self.b = gain[:, None] * torch.view_as_complex(layer.b)  # (P, C)
        self.c = layer.scale * torch.view_as_complex(layer.c[0])  # (C, P)

    def value(self, x: Tensor) -> Tensor:
        return self.layer.value(x) if self.layer.projections else x

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        inputs = self.value(x).to(self.b.dtype) @ self.b.T  # (B, N, P)
        return (discounted(inputs, self.decay[:, None])[..., 0],)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        v = self.value(x)  # (B, 1, C)
        s = state.tensors[0] * self.decay + v[:, 0].to(self.b.dtype) @ self.b.T
        y = (s @ self.c.T).real[:, None] + self.layer.d * v
        return (self.layer.out(gelu(y)) if self.layer.projections else y), (s,)


class Mega(Cached):
    """The average's states (B, dim, states), the inputs that leave it, and keys and values

    The average is truncated: an input leaves its states again after `truncation` tokens, and until
    then it is kept (B, at most truncation, dim). Keys (B, 1, n, z) and values are of the own chunk,
    or of all tokens where there are no chunks.
    """

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        ema, self.lags = layer.ema, layer.ema.truncation
        p = exact(ema.delta[0]).sigmoid()
        damped = p * ema.alpha[0].sigmoid()
        damped = damped.clamp(max=1 - torch.finfo(p.dtype).eps)
        self.decay = 1 - damped  # (dim, states)
        self.start_weights = ema.gamma[0] * p * ema.beta[0] * p.shape[-1] ** -0.5
        if self.lags:
            self.leaves = (torch.log1p(-damped) * self.lags).exp()

    def kept(self, n: int) -> int:
        return n % self.layer.chunk if self.layer.chunk else n

    def of_average(self, average: Tensor, which: int) -> Tensor:
        """Queries (0) or keys (1), (B, 1, N, z)"""
        z = silu(self.layer.query(average))
        return (z * self.layer.scale[which] + self.layer.shift[which])[:, None]

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        n, lags = x.shape[1], self.lags or x.shape[1]
        average = self.layer.ema(x, None) if n else x
        first = n - self.kept(n)
        k = self.of_average(average[:, first:], 1)
        v = silu(self.layer.value(x[:, first:]))[:, None]
        recent = x[:, max(0, n - lags) :]
        leaving = (cached(recent),) if self.lags else ()
        return (discounted(recent, self.decay), *map(cached, (k, v)), *leaving)

    def advance(self, x: Tensor, state: State, stream: Tensor | None = None) -> tuple[Tensor, Any]:
        s, k, v, *leaving = state.tensors
        layer = self.layer
        s = torch.addcmul(x.mT, s, self.decay)
        if leaving:
            inputs = leaving[0]
            if inputs.shape[1] == self.lags:
                s = torch.addcmul(s, inputs[:, 0, :, None], self.leaves, value=-1)
            inputs = append(inputs, x)
            leaving = [last(inputs, min(self.lags, inputs.shape[1]))]
        average = silu((s * self.start_weights).sum(-1)[:, None] + layer.ema.omega * x)
        sizes = [layer.value.out_features, self.dim, self.dim]
        reset, update, h = layer.gates(average).split(sizes, dim=-1)
        q, own = (self.of_average(average, which) for which in (0, 1))
        k, v = append(k, own), append(v, silu(layer.value(x))[:, None])
        bias = self.by_distance(k.shape[2])[None]
        if layer.function == "softmax":
            context = attend(q, k, v, bias)
        else:
            context = laplace(q @ k.mT / k.shape[2] + bias) @ v
        h = silu(h + layer.out(silu(reset) * context[:, 0]))
        y = update.sigmoid() * (h - (x if stream is None else stream))
        kept = self.kept(state.n + 1)
        return y, (s, last(k, kept), last(v, kept), *leaving)

    def by_distance(self, count: int) -> Tensor:
        """b_(j - i) of the last of `count` tokens i, (count,)"""
        bias = self.layer.bias
        if self.layer.relative == "simple":
            middle = len(bias) // 2  # distance 0
            if count > middle + 1:
                raise LRAError(
                    f"options.relative: 'simple' has {middle + 1} distances, not {count}"
                )
            return bias[middle + 1 - count : middle + 1]
        (a, c), (b, d) = (t.chunk(2) for t in bias)
        places = torch.arange(1 - count, 1, dtype=bias.dtype, device=bias.device)
        waves = torch.cat([c * b - a * d, a * b + c * d])
        return sinusoids(places, len(waves)) @ waves


def discounted(u: Tensor, decay: Tensor) -> Tensor:
    """sum over t of decay^(N - 1 - t) u_t: u (B, N, C), decay (C, P), real or complex -> (B, C, P)

    The powers are those of the decay as it is, computed in float64: at 16,384 tokens the phase of a
    float32 power would err by 0.001.
    """
    u = pad(u.mT, (-u.shape[1] % CHUNK, 0)).unflatten(2, (-1, CHUNK)).to(decay.dtype)
    log = decay.to(torch.promote_types(decay.dtype, torch.float64)).log()[..., None]
    chunks = u.shape[2]
    within, between = (
        (log * size * torch.arange(count - 1, -1, -1, device=u.device)).exp().to(u.dtype)
        for count, size in ((CHUNK, 1), (chunks, CHUNK))
    )
    return torch.einsum("bcgs,cps,cpg->bcp", u, within, between)
