"""Sums over earlier tokens of products of features, in linear time: causal kernel attention.

The causal form of Katharopoulos et al. 2020 (arXiv:2006.16236, equations 9 to 12, and section 3.3.1
for the gradients), in chunks: quadratic in a chunk, running sums between chunks. Shapes: G chunks
of S tokens, M features, P the size of values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.base import pad_length

CHUNK = 32  # tokens
GROUP = 16  # chunks that are summed at once


def causal_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Sum of (q_i k_j) v_j over j <= i: q, k (B, H, N, M), v (B, H, N, P) -> (B, H, N, P)"""
    n = q.shape[2]
    size = min(CHUNK, n)
    chunks = (pad_length(t, size, dim=2).unflatten(2, (-1, size)) for t in (q, k, v))
    return Chunks.apply(*chunks).flatten(2, 3)[:, :, :n]


class Chunks(torch.autograd.Function):
    """apply(q, k (B, H, G, S, M), v (B, H, G, S, P)) -> (B, H, G, S, P)

    The S x S products are computed again for the gradients, which is as fast as to store them.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        before = others(k.mT @ v)  # (B, H, G, M, P)
        sums = (q @ k.mT).tril_() @ v
        sums += q @ before
        ctx.save_for_backward(q, k, v, before)
        return sums

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, before = ctx.saved_tensors
        after = others(q.mT @ grad, later=True)
        within = (grad @ v.mT).tril_()  # (B, H, G, S, S)
        grad_q = within @ k
        grad_q += grad @ before.mT
        grad_k = within.mT @ q
        grad_k += v @ after.mT
        within = (q @ k.mT).tril_()
        grad_v = within.mT @ grad
        grad_v += k @ after
        return grad_q, grad_k, grad_v


def others(t: Tensor, later: bool = False) -> Tensor:
    """The sum over all earlier chunks, or all later ones: t (B, H, G, M, P), the same shape.

    By products with triangular matrices of up to GROUP rows, and so on for the sums of the groups:
    cumsum of floats is refused on a GPU where algorithms must be deterministic. `sum_before` is the
    product alone, quadratic in the chunks; its copies make a step of Performer up to 8 % longer.
    """
    count = t.shape[2]
    size = min(GROUP, count)
    groups = pad_length(t, size, dim=2).unflatten(2, (-1, size))  # (B, H, groups, size, M, P)
    ones = torch.ones(size, size, dtype=t.dtype, device=t.device)
    chosen = ones.triu(1) if later else ones.tril(-1)
    sums = (chosen @ groups.flatten(4)).unflatten(4, t.shape[3:])
    if count > size:
        sums += others(groups.sum(3), later)[:, :, :, None]
    return sums.flatten(2, 3)[:, :, :count]
