"""Depthwise convolution, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(v: Tensor, kernel: Tensor, mask: Tensor | None = None, causal: bool = False):
    """The same from v (B, N, W) and kernel (width, W), token by token; mask (B, N)."""
    width, n = len(kernel), v.shape[1]
    first = 1 - width if causal else -(width // 2)  # where the kernel's first tap looks
    rows = []
    for token in range(n):
        row = torch.zeros_like(v[:, 0])
        for tap in range(width):
            seen = token + first + tap
            if 0 <= seen < n:
                real = 1 if mask is None else mask[:, seen, None]
                row = row + kernel[tap] * v[:, seen] * real
        rows.append(row)
    return torch.stack(rows, dim=1)
