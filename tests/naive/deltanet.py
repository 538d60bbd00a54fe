"""The gated delta rule, token by token (Yang et al. 2025, equation 10)."""

from __future__ import annotations

import torch
from torch import Tensor


def rule(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, alpha: Tensor) -> Tensor:
    """S <- alpha S (I - beta k k^T) + beta v k^T, o = S q, with the paper's S (B, H, E, D).

    q, k (B, H, N, D), v (B, H, N, E), beta and alpha (B, H, N) -> o (B, H, N, E)
    """
    state = v.new_zeros(*v.shape[:2], v.shape[3], k.shape[3])
    identity = torch.eye(k.shape[3], dtype=k.dtype)
    outs = []
    for t in range(q.shape[2]):
        b, a = beta[:, :, t, None, None], alpha[:, :, t, None, None]
        column, row = k[:, :, t, :, None], k[:, :, t, None, :]
        state = a * state @ (identity - b * column @ row) + b * v[:, :, t, :, None] @ row
        outs.append((state @ q[:, :, t, :, None])[..., 0])
    return torch.stack(outs, dim=2)
