"""The states h_t = a_t h_(t-1) + b_t of a recurrence, in log2(T) steps.

Two successive steps are one, a_2 a_1 and a_2 b_1 + b_2. So the states at every second place are a
scan of half the length, and those between them follow from them (Blelloch 1990, Prefix sums and
their applications). Nothing is divided and nothing is exponentiated: with factors within 0 and 1 a
state is as exact as in a loop over tokens. A sum of logarithms is not: at 16,384 tokens it has the
rounding of their total, and of floats a GPU refuses it where algorithms must be deterministic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Scan(torch.autograd.Function):
    """apply(a, b, backwards) -> h like b, the states along dim 1, from 0 on.

    a, b (B, T, W): factors of each channel, elementwise. a (B, T, D, D), b (B, T, D, E): matrices.
    backwards: h_t = a_t h_(t+1) + b_t, from the end. Only a and h are kept for the backward pass,
    which is the same recurrence in the other direction.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, backwards: bool) -> Tensor:
        h = states(a, b, backwards)
        ctx.save_for_backward(a, h)
        ctx.backwards = backwards
        return h

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        a, h = ctx.saved_tensors
        # h_t goes into its successor times that one's factor; the first factor of all meets h_0 = 0
        step = 1 if ctx.backwards else -1
        matrices = a.dim() == 4
        to_b = states((a.mT if matrices else a).roll(step, 1), grad, not ctx.backwards)
        before = previous(h, ctx.backwards)
        to_a = to_b @ before.mT if matrices else to_b * before
        return to_a, to_b, None


def previous(h: Tensor, backwards: bool = False) -> Tensor:
    """The state before each step: h along dim 1, moved by one, zeros first."""
    zeros = torch.zeros_like(h[:, :1])
    return torch.cat([h[:, 1:], zeros] if backwards else [zeros, h[:, :-1]], dim=1)


def states(a: Tensor, b: Tensor, backwards: bool) -> Tensor:
    """As Scan, which has its derivative."""
    count = b.shape[1]
    if count == 1:
        return b
    # of two successive steps `first` is taken first; an odd last one has no second
    start = 1 if backwards and count % 2 == 0 else 0
    first, second = slice(start, None, 2), slice(1 - start, None, 2)
    paired = slice(-(count // 2), None) if backwards else slice(count // 2)
    a1, a2, b1, b2 = a[:, first], a[:, second], b[:, first], b[:, second]
    inner = states(product(a2, a1[:, paired]), advance(a2, b1[:, paired], b2), backwards)
    h = b.clone()  # the very first state is its b
    h[:, second] = inner
    inner = h[:, second]  # its own memory goes
    if more := b1.shape[1] - 1:
        later, before = slice(1, None), slice(more)
        if backwards:
            later, before = slice(more), slice(-more, None)
        h[:, first][:, later] = advance(a1[:, later], inner[:, before], b1[:, later])
    return h


def product(a: Tensor, b: Tensor) -> Tensor:
    return a @ b if a.dim() == 4 else a * b


def advance(a: Tensor, h: Tensor, b: Tensor) -> Tensor:
    """a h + b"""
    return (a @ h).add_(b) if a.dim() == 4 else torch.addcmul(b, a, h)
