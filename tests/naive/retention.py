"""Retention with the N x N matrix of decays (Sun et al. 2023, equations 5 and 8; Afzal et al. 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gammas(heads: int) -> Tensor:
    return torch.tensor([1 - 2 ** (-5.0 - head) for head in range(heads)], dtype=torch.float64)


def rotated_scores(q: Tensor, k: Tensor) -> Tensor:
    """(q_n e^(i n theta)) . conj(k_m e^(i m theta)), each pair of features a complex number"""
    n, size = q.shape[2:]
    theta = 10_000.0 ** -torch.linspace(0, 1, size // 2, dtype=q.dtype)
    turn = torch.exp(1j * torch.arange(n)[:, None] * theta)
    q, k = (torch.view_as_complex(t.unflatten(3, (-1, 2)).contiguous()) * turn for t in (q, k))
    return (q @ k.conj().mT).real / size**0.5


def fixed(decay: Tensor, n: int, causal: bool) -> Tensor:
    """decay (H,) -> (H, N, N)"""
    rows = [[decay ** abs(t - s) * (s <= t or not causal) for s in range(n)] for t in range(n)]
    return torch.stack([torch.stack(row) for row in rows]).permute(2, 0, 1)


def gated(decay: Tensor, causal: bool) -> Tensor:
    """decay (B, H, N) -> (B, H, N, N): products from the seen token to just before the seeing one"""
    n = decay.shape[-1]
    rows = []
    for t in range(n):
        row = []
        for s in range(n):
            if s <= t:
                row.append(decay[..., s:t].prod(-1))
            else:
                row.append(decay[..., t + 1 : s + 1].prod(-1) * (not causal))
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def attention(module: nn.Module, x: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """With the weights of a lra.attention.retention.Attention."""
    q, k, v = module.project(x)
    if mask is not None:
        k = k * mask[:, None, :, None]
    heads, n = q.shape[1:3]
    if module.decay_gate is not None:
        decay = torch.sigmoid(module.decay_gate(x) + module.decay_logit).mT
        if mask is not None:
            decay = torch.where(mask[:, None], decay, 1)
        weights = gated(decay, causal)
    elif module.decay_logit is not None:
        weights = fixed(torch.sigmoid(module.decay_logit), n, causal)
    else:
        weights = fixed(gammas(heads), n, causal)
    out = (rotated_scores(q, k) * weights) @ v
    mean, variance = out.mean(-1, keepdim=True), out.var(-1, keepdim=True, correction=0)
    normed = ((out - mean) / (variance + 1e-6).sqrt()).transpose(1, 2).flatten(2)
    gate = module.gate(x)
    return module.out(normed * gate * torch.sigmoid(gate))
