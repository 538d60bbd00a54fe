"""Pairs of features turned by their token's position (rotary, retention)."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.base import exact


def rotate(t: Tensor, turns: Tensor) -> Tensor:
    """t (..., N, D) with features 2 i and 2 i + 1 turned as a pair: a product of complex numbers"""
    pairs = torch.view_as_complex(exact(t).unflatten(-1, (-1, 2)))
    turned = pairs * turns.to(pairs.dtype)
    return torch.view_as_real(turned).flatten(-2).to(t.dtype)
