"""S5 and LRU, one token after the other; HiPPO-N and a dense state space, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def layer(v: Tensor, decay: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """v (B, N, C) -> (B, N, C), of decay (P,), b (P, C), c (1 or 2, C, P) and d (C,).

    The second c is of the recurrence from the end.
    """
    y = d * v + (states(v, decay, b) @ c[0].T).real
    if len(c) > 1:
        y = y + (states(v.flip(1), decay, b).flip(1) @ c[1].T).real
    return y


def states(v: Tensor, decay: Tensor, b: Tensor) -> Tensor:
    """s_t = decay s_{t-1} + b v_t, (B, N, P)"""
    state, found = 0, []
    for token in v.unbind(1):
        state = decay * state + token.to(b.dtype) @ b.T
        found.append(state)
    return torch.stack(found, 1)


def hippo_n(size: int) -> Tensor:
    """The normal part of HiPPO-LegS: A + P P^T (S5's equations 6 and 7), in float64"""
    n = torch.arange(size, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    legs = -torch.outer(root, root).tril(-1) - torch.diag(n + 1)
    low_rank = (n + 0.5).sqrt()
    return legs + torch.outer(low_rank, low_rank)


def dense(v: Tensor, a: Tensor, b: Tensor, c: Tensor, dt: float) -> Tensor:
    """y = C s of s' = A s + B v held over steps dt: v (B, N, C), a (P, P), b (P, C), c (C, P)"""
    step = torch.linalg.matrix_exp(dt * a)
    b = torch.linalg.solve(a, (step - torch.eye(len(a), dtype=a.dtype)) @ b)
    state, found = torch.zeros(len(v), len(a), dtype=a.dtype), []
    for token in v.unbind(1):
        state = state @ step.T + token @ b.T
        found.append(state @ c.T)
    return torch.stack(found, 1)
