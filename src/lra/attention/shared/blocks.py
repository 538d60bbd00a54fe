"""Sequences cut into blocks, the blocks beside each, and attention within them.

For shape letters see lra.attention.base.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lra.attention.base import attendable, pad_length


def split(x: Tensor, size: int) -> Tensor:
    """(B, N, ...) -> (B, G, S, ...), zeros (False) appended to fill the last block."""
    return pad_length(x, size, dim=1).unflatten(1, (-1, size))


def neighbours(x: Tensor, before: int, after: int) -> Tensor:
    """(B, G, S, ...) -> (B, G, W S, ...): each block with `before` and `after` blocks beside it.

    Beyond the ends of the sequence there are zeros (False).
    """
    blocks = x.shape[1]
    ends = (x.new_zeros(len(x), count, *x.shape[2:]) for count in (before, after))
    first, last = ends
    padded = torch.cat([first, x, last], dim=1)
    shifts = [padded[:, shift : shift + blocks] for shift in range(before + 1 + after)]
    return torch.cat(shifts, dim=2)


def attend(
    q: Tensor, k: Tensor, v: Tensor, heads: int, allowed: Tensor | None, dropout: float
) -> Tensor:
    """Softmax attention of every block's queries to the keys gathered for that block.

    q (B, G, S, H D), k and v (B, G, K, H D), allowed broadcasts to (B, G, S, K), True where q may
    see k. A query that may see nothing sees all keys, so there is no NaN. Returns (B, G S, H D).
    """
    batch, length = len(q), q.shape[1] * q.shape[2]
    q, k, v = (rearrange(t, "b g s (h d) -> (b g) h s d", h=heads) for t in (q, k, v))
    if allowed is not None:
        allowed = attendable(allowed)
        if allowed.shape[:2] != (1, 1):
            allowed = allowed.expand(batch, len(q) // batch, -1, -1)
        allowed = allowed.flatten(0, 1)[:, None]  # (B G or 1, 1, S, K)
    out = scaled_dot_product_attention(q, k, v, allowed, dropout)
    return rearrange(out, "(b g) h s d -> b (g s) (h d)", b=batch)[:, :length]
