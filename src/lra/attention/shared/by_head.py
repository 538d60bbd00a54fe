"""Products of matrices of each head with values that lie as their projection leaves them.

Letters beside base.py's: M = B G chunks of S tokens, K the size of queries and keys, P of values.
`at_once` heads after others: one after another, their tensors stay in a CPU's caches, and values
and outputs (M, S, H, P) need no copies of another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor


class Write(torch.autograd.Function):
    """k^T v: apply(at_once, k (H, M, S, K), v (M, S, H, P)) -> (H, M, K, P)"""

    @staticmethod
    def forward(ctx: Any, at_once: int, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(k, v)
        ctx.at_once = at_once
        out = v.new_empty(*k.shape[:2], k.shape[3], v.shape[3])
        for h in heads(len(k), at_once):
            torch.bmm(matrices(k, h).mT, values(v, h), out=matrices(out, h))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        k, v = ctx.saved_tensors
        to_k, to_v = k.new_empty(k.shape), v.new_empty(v.shape)
        for h in heads(len(k), ctx.at_once):
            top = matrices(grad, h)
            torch.bmm(values(v, h), top.mT, out=matrices(to_k, h))
            put(to_v, h, torch.bmm(matrices(k, h), top))
        return None, to_k, to_v


class Read(torch.autograd.Function):
    """weights v, and q state of each pair (q, state) after them, summed

    apply(at_once, v (M, S, H, P), weights (H, M, S, S), q (H, M, S, K), state (H, M, K, P), ...) ->
    (M, S, H, P)
    """

    @staticmethod
    def forward(ctx: Any, at_once: int, v: Tensor, weights: Tensor, *pairs: Tensor) -> Tensor:
        ctx.save_for_backward(v, weights, *pairs)
        ctx.at_once = at_once
        out = v.new_empty(v.shape)
        for h in heads(len(weights), at_once):
            read = torch.bmm(matrices(weights, h), values(v, h))
            for q, state in batched(pairs):
                read.baddbmm_(matrices(q, h), matrices(state, h))
            put(out, h, read)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        v, weights, *pairs = ctx.saved_tensors
        to_v, to_weights, *to_pairs = (t.new_empty(t.shape) for t in ctx.saved_tensors)
        for h in heads(len(weights), ctx.at_once):
            top = values(grad, h)
            torch.bmm(top, values(v, h).mT, out=matrices(to_weights, h))
            put(to_v, h, torch.bmm(matrices(weights, h).mT, top))
            for (q, state), (to_q, to_state) in zip(batched(pairs), batched(to_pairs), strict=True):
                torch.bmm(top, matrices(state, h).mT, out=matrices(to_q, h))
                torch.bmm(matrices(q, h).mT, top, out=matrices(to_state, h))
        return None, to_v, to_weights, *to_pairs


def heads(count: int, at_once: int) -> Iterator[slice]:
    for first in range(0, count, at_once):
        yield slice(first, first + at_once)


def batched(pairs: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(pairs[::2], pairs[1::2], strict=True)


def matrices(t: Tensor, h: slice) -> Tensor:
    """Those of some heads: (H, M, S, K) -> (h M, S, K)"""
    return t[h].flatten(0, 1)


def values(t: Tensor, h: slice) -> Tensor:
    """Those of some heads: (M, S, H, P) -> (h M, S, P), of one head a view"""
    return rearrange(t[:, :, h], "m s h p -> (h m) s p")


def put(t: Tensor, h: slice, new: Tensor) -> None:
    """The inverse of `values`: new (h M, S, P) into t (M, S, H, P)"""
    t[:, :, h] = rearrange(new, "(h m) s p -> m s h p", m=len(t))
