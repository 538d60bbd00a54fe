"""What is added to the scores of hidden keys."""

from __future__ import annotations

import torch
from torch import Tensor


def minus_infinity(where: Tensor, dtype: torch.dtype) -> Tensor:
    """-inf there and 0 elsewhere. On a CPU, adding it is much faster than filling."""
    there = torch.full((), -torch.inf, dtype=dtype, device=where.device)
    return torch.where(where, there, 0.0)
