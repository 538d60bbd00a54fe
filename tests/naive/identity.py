"""No mixing, by definition."""

from __future__ import annotations

import torch
from torch import Tensor


def attention(v: Tensor) -> Tensor:
    """The same from v (B, N, W), with the N x N weights of a token that sees itself alone."""
    return torch.eye(v.shape[1], dtype=v.dtype) @ v
