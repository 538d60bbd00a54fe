"""What google-research/long-range-arena at cd31e5c computes for Local, Sinkhorn and Reformer.

Its arrays always have max_len tokens. Here sequences may be shorter, and what is missing is masked.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from lra.attention.base import all_real, attendable, lower_triangle, pad_length
from lra.attention.shared.blocks import attend

BUCKETS = 10  # and chunks of Reformer


def strided(t: Tensor, groups: int, size: int) -> Tensor:
    """t (B, N, ...), N <= G S -> (B, G, S, ...): group b is {b, b + G, b + 2 G, ...}

    Zeros beyond N. That code reshapes the length to (S, G) and attends along S.
    """
    return pad_length(t, groups * size, dim=1).unflatten(1, (size, groups)).transpose(1, 2)


def in_order(t: Tensor, groups: int) -> Tensor:
    """The inverse of `strided`: (B, G S, E) -> (B, G S, E)"""
    return t.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def local(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    heads: int,
    max_len: int,
    size: int,
    causal: bool,
    dropout: float,
) -> Tensor:
    """q, k, v (B, N, H D), mask (B, N) -> (B, N, H D): attention within strided groups.

    max_len is padded to the next multiple of `size`, by a whole block where it is one. All see
    these tokens, whose keys and values are zeros.
    """
    n, groups = q.shape[1], max_len // size + 1
    mask = all_real(q) if mask is None else mask
    beyond = torch.arange(groups * size, device=q.device) >= max_len
    seen = strided(pad_length(mask, groups * size, dim=1) | beyond, groups, size)  # (B, G, S)
    seen = seen[:, :, None]
    if causal:
        seen = seen & lower_triangle(size, q.device)
    q, k, v = (strided(t, groups, size) for t in (q, k, v))
    return in_order(attend(q, k, v, heads, seen, dropout), groups)[:, :n]


def sinkhorn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    heads: int,
    max_len: int,
    size: int,
    dropout: float,
) -> Tensor:
    """q, k, v (B, N, H D), mask (B, N) -> (B, N, H D)

    The sum of two attentions: within strided groups, and to the sum of all groups, token by token.
    """
    n, groups = q.shape[1], -(-max_len // size)
    mask = all_real(q) if mask is None else mask
    real = strided(mask, groups, size)  # (B, G, S)
    q, k, v = (strided(t, groups, size) for t in (q, k, v))
    k, v = (t * real[..., None] for t in (k, v))
    out = attend(q, k, v, heads, real[:, :, None], dropout)
    sums = (t.sum(1, keepdim=True).expand_as(t) for t in (k, v))
    out = out + attend(q, *sums, heads, real.any(1)[:, None, None], dropout)
    return in_order(out, groups)[:, :n]


def reformer(q: Tensor, v: Tensor, mask: Tensor | None, rotation: Tensor, max_len: int) -> Tensor:
    """q, v (B, N, H, D), mask (B, N), rotation (D, 5) -> (B, N, H D), which is not projected

    Tokens are sorted by 10 buckets, then position, and cut into 10 chunks. A token sees all of its
    chunk and of the one before (the last before the first), itself included, whatever their
    buckets. Scores are q q^T sqrt(D). max_len is padded to the next multiple of 10, by 10 where it
    is one; these zeros are in bucket 0 and are seen. Then heads and length are not swapped back:
    results (H, N, D) are read as rows of H D values.
    """
    n, heads, size = q.shape[1:]
    total = BUCKETS * (max_len // BUCKETS + 1)
    mask = all_real(q) if mask is None else mask
    seen = pad_length(mask, total, dim=1) | (torch.arange(total, device=q.device) >= max_len)
    seen = seen[:, None].expand(-1, heads, -1)  # (B, H, T)
    q, v = (pad_length(t, total, dim=1).transpose(1, 2) for t in (q, v))  # (B, H, T, D)
    turned = q.detach() @ rotation
    bucket = torch.cat([turned, -turned], dim=-1).argmax(-1).masked_fill(~seen, BUCKETS)
    order = bucket.argsort(dim=-1, stable=True)
    rank = order.argsort(dim=-1)

    def chunks(t: Tensor) -> Tensor:
        """(B, H, T, ...) -> (B H, 10, T / 10, ...), sorted"""
        index = order if t.ndim == 3 else order[..., None].expand_as(t)
        return t.gather(2, index).flatten(0, 1).unflatten(1, (BUCKETS, -1))

    def with_chunk_before(t: Tensor) -> Tensor:
        return torch.cat([t, t.roll(1, dims=1)], dim=2)

    keys, values, allowed = (with_chunk_before(chunks(t)) for t in (q, v, seen))
    allowed = attendable(allowed)[:, :, None]
    out = scaled_dot_product_attention(chunks(q), keys, values, allowed, scale=size**0.5)
    out = out.flatten(1, 2).unflatten(0, (-1, heads))  # (B, H, T, D)
    out = out.gather(2, rank[..., None].expand_as(out)).masked_fill(~seen[..., None], 0)
    return out.reshape(len(out), total, heads * size)[:, :n]
