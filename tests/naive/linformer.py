"""Linformer, by definition."""

from __future__ import annotations

from torch import Tensor


def attention(q: Tensor, k: Tensor, v: Tensor, e: Tensor, f: Tensor) -> Tensor:
    """Equation 7 from q, k, v (B, H, N, D), masked k and v zero, and e, f (H or 1, k, N)."""
    weights = (q @ (e @ k).mT * q.shape[-1] ** -0.5).softmax(-1)  # (B, H, N, k)
    return weights @ (f @ v)
