"""Short depthwise convolutions along the tokens, for mixers since 2021 (mamba2, deltanet)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu


class ConvolveSilu(torch.autograd.Function):
    """silu(t convolved with taps + bias): apply(t (B, N, W), taps (width, W), bias (W,) or None,
    before) -> (B, N, W)

    For `before` see `convolved`. What SiLU is of is computed again for the gradients, not kept.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, taps: Tensor, bias: Tensor | None, before: int) -> Tensor:
        ctx.save_for_backward(t, taps, bias)
        ctx.before = before
        return silu(convolved(t, taps, bias, before), inplace=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        t, taps, bias = ctx.saved_tensors
        grad = torch.ops.aten.silu_backward(grad, convolved(t, taps, bias, ctx.before))
        to_t, to_taps = torch.zeros_like(t), []
        for i, tap in enumerate(taps):
            to, of = overlap(t.shape[1], i - ctx.before)
            to_t[:, of].addcmul_(grad[:, to], tap)
            to_taps.append((grad[:, to] * t[:, of]).sum((0, 1)))
        to_bias = None if bias is None else grad.sum((0, 1))
        return to_t, torch.stack(to_taps), to_bias, None


def convolved(t: Tensor, taps: Tensor, bias: Tensor | None, before: int) -> Tensor:
    """t (B, N, W) convolved along the tokens, each channel with its taps (width, W), plus bias (W,)

    Token i sees tokens i - before and the width - 1 after it; there are zeros beyond the ends. As
    sums of shifted products in place: torch's own has wrong gradients (nystrom.convolve).
    """
    out = torch.zeros_like(t) if bias is None else bias.expand_as(t).clone()
    for i, tap in enumerate(taps):
        to, of = overlap(t.shape[1], i - before)
        out[:, to].addcmul_(t[:, of], tap)
    return out


def overlap(n: int, shift: int) -> tuple[slice, slice]:
    """Which of n tokens have a token at `shift` from them, and which tokens those are."""
    end = max(0, n - abs(shift))
    shorter, moved = slice(0, end), slice(n - end, n)
    return (shorter, moved) if shift >= 0 else (moved, shorter)
