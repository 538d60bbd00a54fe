"""Recurrences whose decays or writes depend on the token: retention, mamba2, deltanet, mingru."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, pad, rms_norm, silu, softplus

from lra.attention.deltanet import EPS, unit
from lra.attention.mamba2 import EPS as MAMBA2_EPS
from lra.attention.mingru import candidate, states
from lra.attention.retention import EPS as NORM_EPS
from lra.attention.retention import rotations
from lra.attention.shared.convolution import convolved
from lra.attention.shared.delta import delta_rule
from lra.attention.shared.gated_norm import GatedNorm
from lra.attention.shared.rotation import rotate
from lra.attention.steps.base import State, Steps
from lra.attention.steps.sums import tail


class Retention(Steps):
    """The decayed sum of k v^T (B, H, K, P), already decayed to the next token"""

    def keys(self, x: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (B, N, dim), whose first token has that position"""
        q, k, v = self.layer.project(x)
        turn = rotations(*q.shape[2:], x.device, first)
        return rotate(q, turn), rotate(k * self.layer.scale, turn), v

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        _, k, v = self.keys(x, 0)
        logs = self.layer.log_decays(x, None)[1].expand(-1, -1, x.shape[1])
        weights = sum_from(logs, 2).exp()[..., None]
        return ((k * weights).mT @ v,)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        q, k, v = self.keys(x, state.n)
        sums = torch.addcmul(state.tensors[0], k.mT, v)
        out = q @ sums  # (B, H, 1, P)
        out = layer_norm(out, out.shape[-1:], eps=NORM_EPS).transpose(1, 2).flatten(2)
        y = self.layer.out(out * silu(self.layer.gate(x)))
        return y, (sums * self.layer.log_decays(x, None)[1].exp()[..., None],)


class Mamba2(Steps):
    """h (B, H, K, P), and what the convolutions see: the last projections (B, 3, H P + 2 K)"""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        parts = ("value", "key", "query")
        self.projections = [getattr(layer, part) for part in parts]
        self.convs = [getattr(layer, f"{part}_conv") for part in parts]
        self.widths = [p.out_features for p in self.projections]
        self.kernel = torch.cat([conv.kernel for conv in self.convs], dim=1)  # (4, channels)
        self.bias = torch.cat([conv.bias for conv in self.convs])

    def steps(self, x: Tensor) -> Tensor:
        """dt (B, N, H)"""
        return softplus(self.layer.step(x) + self.layer.dt_bias)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        projected = [p(x) for p in self.projections]
        v, k = (conv(t) for conv, t in zip(self.convs[:2], projected[:2], strict=True))
        dt = self.steps(x)
        log = -self.layer.a_log.exp() * dt
        weights = dt * (sum_from(log, 1) - log).exp()  # decays after the token
        v = v.unflatten(2, (self.layer.heads, -1)) * weights[..., None]
        h = torch.einsum("bnk,bnhp->bhkp", k, v)
        return h, tail(torch.cat(projected, dim=2), len(self.kernel) - 1)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        h, before = state.tensors
        window = torch.cat([before, torch.cat([p(x) for p in self.projections], dim=2)], dim=1)
        mixed = silu((window * self.kernel).sum(1) + self.bias)
        v, k, q = mixed.split(self.widths, dim=-1)
        v = v.unflatten(1, (self.layer.heads, -1))  # (B, H, P)
        dt = self.steps(x)[:, 0, :, None]  # (B, H, 1)
        decay = (-self.layer.a_log.exp()[:, None] * dt).exp()[..., None]
        h = torch.addcmul(h * decay, k[:, None, :, None], (v * dt)[:, :, None])
        y = (q[:, None, None] @ h)[:, :, 0] + v * self.layer.skip[:, None]  # (B, H, P)
        y = y.flatten(1)[:, None]
        y = GatedNorm.apply(y, self.layer.gate(x), MAMBA2_EPS, True) * self.layer.norm
        return self.layer.out(y), (h, window[:, 1:])


class DeltaNet(Steps):
    """S (B, H, D, D), and with convolutions the last q, k and v before them (B, conv - 1, 3 W)"""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.taps = None
        if layer.taps is not None:
            self.taps = torch.cat(layer.taps.unbind(), dim=1)  # (conv, 3 W)

    def projected(self, x: Tensor) -> Tensor:
        return torch.cat([p(x) for p in (self.layer.query, self.layer.key, self.layer.value)], 2)

    def heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v (B, H, N, D) of what comes out of the convolutions (B, N, 3 W)"""
        q, k, v = (self.layer.split_heads(silu(t)) for t in mixed.chunk(3, dim=2))
        return unit(q, q.shape[-1] ** -0.5), unit(k), v

    def rules(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """beta and log alpha (B, H, N)"""
        beta = self.layer.beta(x).sigmoid().mT
        if self.layer.alpha is None:
            return beta, None
        rate = softplus(self.layer.alpha(x) + self.layer.dt_bias)
        return beta, (-self.layer.a_log.exp() * rate).mT

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        """S is read by as many more tokens as it has rows, which write nothing: S^T of a unit
        vector is a row of it."""
        mixed = projected = self.projected(x)
        if self.taps is not None:
            mixed = convolved(projected, self.taps, None, self.layer.before)
        _, k, v = self.heads(mixed)
        size = k.shape[-1]
        rows = torch.eye(size, dtype=k.dtype, device=k.device).expand(*k.shape[:2], -1, -1)
        q = torch.cat([torch.zeros_like(k), rows], dim=2)
        k, v = (pad(t, (0, 0, 0, size)) for t in (k, v))
        beta, decay = (None if t is None else pad(t, (0, size))[None] for t in self.rules(x))
        state = delta_rule(q, k, v, beta, decay)[:, :, -size:].contiguous()
        if self.taps is None:
            return (state,)
        return state, tail(projected, len(self.taps) - 1)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        layer, (s, *before) = self.layer, state.tensors
        mixed = self.projected(x)
        if before:
            window = torch.cat([before[0], mixed], dim=1)
            mixed = (window * self.taps).sum(1, keepdim=True)
            before = [window[:, 1:]]
        q, k, v = self.heads(mixed)
        beta, decay = self.rules(x)
        if decay is not None:
            s = s * decay.exp()[..., None]
        s = torch.addcmul(s, k.mT, beta[..., None] * (v - k @ s))
        out = q @ s  # (B, H, 1, D)
        out = rms_norm(out, layer.norm.shape, layer.norm, EPS).transpose(1, 2).flatten(2)
        return layer.out(out if layer.gate is None else out * silu(layer.gate(x))), (s, *before)


class MinGRU(Steps):
    """h (B, 1, W)"""

    def states(self, x: Tensor) -> Tensor:
        gates = self.layer.gates(self.layer.query(x), 0, None)
        return states(gates, candidate(self.layer.value(x)), backwards=False)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        if not x.shape[1]:
            return (x.new_zeros(len(x), 1, self.layer.gate_bias.shape[1]),)
        return (self.states(x)[:, -1:].clone(),)

    @torch.no_grad()
    def prefill(self, x: Tensor) -> tuple[Tensor, State]:
        """One scan for both"""
        h = self.states(x)
        return self.layer.out(h), State(x.shape[1], (h[:, -1:].clone(),))

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        gates = self.layer.gates(self.layer.query(x), 0, None)
        c = candidate(self.layer.value(x))
        h = torch.addcmul(gates.sigmoid() * c, (-gates).sigmoid(), state.tensors[0])
        return self.layer.out(h), (h,)


def sum_from(t: Tensor, dim: int) -> Tensor:
    """Sums along dim from each place to the end, added up from there: exact where they matter"""
    return t.flip(dim).cumsum(dim).flip(dim)
