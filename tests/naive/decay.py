"""Decayed sums, by definition and token by token."""

from __future__ import annotations

import torch
from torch import Tensor


def matrix(forward: Tensor, backward: Tensor | None = None) -> Tensor:
    """The N x N decays of logarithms (..., N): row t, column s; 0 for s > t without `backward`."""
    n = forward.shape[-1]
    rows = []
    for t in range(n):
        row = []
        for s in range(n):
            if s <= t:
                row.append(forward[..., s + 1 : t + 1].sum(-1).exp())
            elif backward is None:
                row.append(torch.zeros_like(forward[..., 0]))
            else:
                row.append(backward[..., t + 1 : s + 1].sum(-1).exp())
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def dense(
    q: Tensor, k: Tensor, v: Tensor, forward: Tensor, backward: Tensor | None = None
) -> Tensor:
    """q, k (B, H, N, K), v (B, H, N, P), decays (B, H, N) -> (B, H, N, P)"""
    return (q @ k.mT * matrix(forward, backward)) @ v


def loop(q: Tensor, k: Tensor, v: Tensor, forward: Tensor) -> Tensor:
    """S_t = a_t S_(t-1) + k_t v_t^T, o_t = S_t^T q_t, one token after the other"""
    state = k.new_zeros(*v.shape[:2], k.shape[-1], v.shape[-1])
    out = []
    for t in range(v.shape[2]):
        decay = forward[:, :, t].exp()[..., None, None]
        state = decay * state + k[:, :, t, :, None] * v[:, :, t, None, :]
        out.append((state.mT @ q[:, :, t, :, None])[..., 0])
    return torch.stack(out, 2)


def quasiseparable(
    diagonal: Tensor, sides: list[tuple[Tensor, Tensor, Tensor, Tensor]], reads_own: bool
) -> Tensor:
    """The matrix (B, H, N, N), entry by entry: row t takes of column s."""
    n = diagonal.shape[2]
    rows = []
    for t in range(n):
        row = [diagonal[..., t] if s == t else torch.zeros_like(diagonal[..., t]) for s in range(n)]
        for backwards, (q, k, w, log) in enumerate(sides):
            for s in range(n):
                first, last = (t, s) if backwards else (s, t)
                if first > last or (s == t and not reads_own):
                    continue
                between = log[..., first + 1 : last].sum(-1)
                if reads_own and s != t:
                    between = between + log[..., t]
                score = (q[:, t] * k[:, s]).sum(-1)[:, None]
                row[s] = row[s] + score * w[..., s] * between.exp()
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)
