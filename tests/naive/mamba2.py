"""Mamba-2 token by token, and Hydra's matrix written out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import naive.conv


def silu(t: Tensor) -> Tensor:
    return t * torch.sigmoid(t)


def short_conv(conv: nn.Module, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    return silu(naive.conv.attention(x, conv.kernel, mask, causal) + conv.bias)


def scan(x: Tensor, b: Tensor, c: Tensor, dt: Tensor, a: Tensor) -> Tensor:
    """h = exp(-a dt) h + dt B x^T, y = C h: x (B, N, H, P), b, c (B, N, K), dt (B, N, H), a (H,)"""
    state = x.new_zeros(x.shape[0], *x.shape[2:], b.shape[-1])
    out = []
    for t in range(x.shape[1]):
        state = state * torch.exp(-a * dt[:, t])[..., None, None]
        entering = (dt[:, t, :, None] * x[:, t])[..., None] * b[:, t, None, None]
        state = state + entering
        out.append((state * c[:, t, None, None]).sum(-1))
    return torch.stack(out, 1)


def quasiseparable(b: Tensor, c: Tensor, dt: Tensor, a: Tensor, own: Tensor) -> Tensor:
    """Hydra's matrix of one head (N, N): b, c (N, 2, K), dt (N, 2), a scalar, own (N,) its diagonal

    Row t sees s < t through the state at t - 1, and s > t through the state at t + 1.
    """
    n = len(b)
    rows = []
    for t in range(n):
        row = []
        for s in range(n):
            if s < t:
                decay = torch.exp(-a * dt[s + 1 : t, 0].sum())
                row.append(c[t - 1, 0] @ b[s, 0] * decay * dt[s, 0])
            elif s > t:
                decay = torch.exp(-a * dt[t + 1 : s, 1].sum())
                row.append(c[t + 1, 1] @ b[s, 1] * decay * dt[s, 1])
            else:
                row.append(own[t])
        rows.append(torch.stack(row))
    return torch.stack(rows)


def inputs(module: nn.Module, x: Tensor, mask: Tensor | None, causal: bool):
    """x (B, N, H, P), b, c (B, N, directions, K), dt (B, N, directions, H), a (H,)"""
    directions = 1 if causal else 2
    v, b, c = (
        short_conv(conv, projection(x), mask, causal)
        for conv, projection in (
            (module.value_conv, module.value),
            (module.key_conv, module.key),
            (module.query_conv, module.query),
        )
    )
    b, c = (t.unflatten(2, (directions, -1)) for t in (b, c))
    dt = torch.log1p(torch.exp(module.step(x).unflatten(2, (directions, -1)) + module.dt_bias))
    if mask is not None:
        dt = dt * mask[:, :, None, None]
    return v.unflatten(2, (module.heads, -1)), b, c, dt, torch.exp(module.a_log)


def diagonal(module: nn.Module, v: Tensor, causal: bool) -> Tensor:
    """(B, N, H)"""
    return module.skip if causal else v.flatten(2) @ module.own.weight.T + module.skip


def attention(module: nn.Module, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """With the weights of a lra.attention.mamba2.Attention."""
    v, b, c, dt, a = inputs(module, x, mask, causal)
    y = scan(v, b[:, :, 0], c[:, :, 0], dt[:, :, 0], a)
    if not causal:
        back = scan(v.flip(1), b[:, :, 1].flip(1), c[:, :, 1].flip(1), dt[:, :, 1].flip(1), a)
        none = torch.zeros_like(y[:, :1])
        y = torch.cat([none, y[:, :-1]], 1) + torch.cat([none, back[:, :-1]], 1).flip(1)
    y = (y + v * diagonal(module, v, causal)[..., None]).flatten(2)
    gate = silu(module.gate(x))
    if causal:
        y = y * gate
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * module.norm
    return module.out(y if causal else y * gate)
