"""Rows of tables in another order, with backward passes that gather where others would scatter."""

from __future__ import annotations

import torch
from torch import Tensor


class Pairs(torch.autograd.Function):
    """Every chunk but the first, after the one before it, as views of `at_once` such pairs.

    apply(chunks (P, 1 + C, S, D), contiguous, at_once) -> some of (P, at most at_once, 2 S, D)
    """

    @staticmethod
    def forward(ctx, chunks: Tensor, at_once: int) -> tuple[Tensor, ...]:
        many, count, length, size = chunks.shape
        pairs = chunks.as_strided((many, count - 1, 2 * length, size), chunks.stride())
        return pairs.split(at_once, dim=1)

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, None]:
        many, _, both, size = grads[0].shape
        count = sum(grad.shape[1] for grad in grads)
        to_chunks = grads[0].new_empty(many, 1 + count, both // 2, size)
        to_chunks[:, 0], start = 0, 0
        for grad in grads:
            before, own = grad.chunk(2, dim=2)
            stop = start + grad.shape[1]
            to_chunks[:, start + 1 : stop + 1] = own
            to_chunks[:, start:stop] += before
            start = stop
        return to_chunks, None


class Permute(torch.autograd.Function):
    """apply(rows (M, D), index (P, M or more), its inverses (P, M)) -> rows[index]

    Backward needs no scatter.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, index.flatten()).view(*index.shape, -1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        found = grad.flatten(0, 1).index_select(0, _in_a_row(inverse, grad.shape[1]))
        return over_rounds(found.view(*inverse.shape, -1)), None, None


class Restore(torch.autograd.Function):
    """apply(rows (P, M, D), index (P, M), its inverses (P, M)) -> each of P in the index's order"""

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _select(rows, index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _select(grad, ctx.saved_tensors[0]), None, None


def _select(rows: Tensor, index: Tensor) -> Tensor:
    """rows (P, M, D) of index (P, M), each of P by itself"""
    found = rows.flatten(0, 1).index_select(0, _in_a_row(index, rows.shape[1]))
    return found.view_as(rows)


def _in_a_row(index: Tensor, rows: int) -> Tensor:
    """index (P, M) into P tables of so many rows, as one into all of them: (P M,)"""
    if len(index) == 1:
        return index[0]
    start = torch.arange(0, len(index) * rows, rows, device=index.device)
    return (index + start[:, None]).flatten()


def over_rounds(t: Tensor) -> Tensor:
    """The sum of t (P, ...)"""
    return t.sum(0) if len(t) > 1 else t.squeeze(0)
