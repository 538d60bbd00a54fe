"""Short depthwise convolutions along the tokens, for mixers since 2021 (mamba2, deltanet)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu


class ConvolveSilu(torch.autograd.Function):
    """silu(t convolved with taps + bias): apply(t (B, N, W), taps (width, W), bias (W,) or None,
    before, keep) -> (B, N, W)

    For `before` see `convolved`. What SiLU is of is kept for the gradients, or computed again.
    """

    @staticmethod
    def forward(
        ctx: Any, t: Tensor, taps: Tensor, bias: Tensor | None, before: int, keep: bool
    ) -> Tensor:
        out = convolved(t, taps, bias, before)
        ctx.save_for_backward(t, taps, bias, out if keep else None)
        ctx.before = before
        return silu(out, inplace=not keep)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        t, taps, bias, out = ctx.saved_tensors
        out = convolved(t, taps, bias, ctx.before) if out is None else out
        grad = torch.ops.aten.silu_backward(grad, out)
        to_t, to_taps = grad * taps[ctx.before], []
        for i, tap in enumerate(taps):
            to, of = overlap(t.shape[1], i - ctx.before)
            if i != ctx.before:
                to_t[:, of].addcmul_(grad[:, to], tap)
            to_taps.append((grad[:, to] * t[:, of]).sum((0, 1)))
        to_bias = None if bias is None else grad.sum((0, 1))
        return to_t, torch.stack(to_taps), to_bias, None, None


def convolved(t: Tensor, taps: Tensor, bias: Tensor | None, before: int) -> Tensor:
    """t (B, N, W) convolved along the tokens, each channel with its taps (width, W), plus bias (W,)

    Token i sees tokens i - before and the width - 1 after it; there are zeros beyond the ends. As
    sums of shifted products in place: torch's own has wrong gradients (nystrom.convolve).
    """
    own = taps[before]
    out = t * own if bias is None else torch.addcmul(bias, t, own)
    for i, tap in enumerate(taps):
        if i != before:
            to, of = overlap(t.shape[1], i - before)
            out[:, to].addcmul_(t[:, of], tap)
    return out


def overlap(n: int, shift: int) -> tuple[slice, slice]:
    """Which of n tokens have a token at `shift` from them, and which tokens those are."""
    end = max(0, n - abs(shift))
    shorter, moved = slice(0, end), slice(n - end, n)
    return (shorter, moved) if shift >= 0 else (moved, shorter)
