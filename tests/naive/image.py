"""Attention within blocks of an image, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.base import attendable


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    width: int,
    block: tuple[int, int],
    halo: tuple[int, int],
    causal: bool = False,
    cls: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """The same from q, k, v (B, H, N, D) by an N x N mask; block and halo as (height, width)."""
    n = q.shape[2]
    pixel = torch.arange(n) - int(cls)
    allowed = torch.ones(n, n, dtype=torch.bool)
    for axis, place in enumerate((pixel // width, pixel % width)):
        start = (place // block[axis] * block[axis])[:, None]  # of the query's block
        allowed &= (place >= start - halo[axis]) & (place < start + block[axis] + halo[axis])
    if cls:
        allowed[0] = allowed[:, 0] = True
    if causal:
        allowed &= pixel <= pixel[:, None]
    if mask is not None:
        allowed = attendable(allowed & mask[:, None, None, :])
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~allowed, -torch.inf)
    return scores.softmax(-1) @ v
