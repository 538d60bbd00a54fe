"""A Toeplitz product, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def convolve(u: Tensor, kernel: Tensor, back: Tensor | None = None) -> Tensor:
    """By the dense matrices (..., C, N, N): u (B, C, N), kernel and back (C, K) or (B, C, K)."""
    n = u.shape[-1]
    lag = torch.arange(n)[:, None] - torch.arange(n)
    matrix = entries(kernel, lag)
    if back is not None:
        matrix = matrix + torch.where(lag < 0, entries(back, -lag), 0)
    return (matrix @ u[..., None])[..., 0]


def entries(lags: Tensor, index: Tensor) -> Tensor:
    """lags (..., K) at each index (N, N), zero beyond them"""
    within = (index >= 0) & (index < lags.shape[-1])
    return torch.where(within, lags[..., index.clamp(0, lags.shape[-1] - 1)], 0)
