"""Short depthwise convolutions along the tokens, for mixers since 2021 (mamba2, deltanet)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Convolve(torch.autograd.Function):
    """Depthwise convolution of t (B, N, W) by taps (width, W): apply(t, taps, before) -> (B, N, W)

    Token i sees tokens i - before and the width - 1 after it; there are zeros beyond the ends. As
    sums of shifted products in place: torch's own has wrong gradients (nystrom.convolve).
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, taps: Tensor, before: int) -> Tensor:
        ctx.save_for_backward(t, taps)
        ctx.before = before
        out = torch.zeros_like(t)
        for i, tap in enumerate(taps):
            to, of = overlap(t.shape[1], i - before)
            out[:, to].addcmul_(t[:, of], tap)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        t, taps = ctx.saved_tensors
        to_t, to_taps = torch.zeros_like(t), []
        for i, tap in enumerate(taps):
            to, of = overlap(t.shape[1], i - ctx.before)
            to_t[:, of].addcmul_(grad[:, to], tap)
            to_taps.append((grad[:, to] * t[:, of]).sum((0, 1)))
        return to_t, torch.stack(to_taps), None


def overlap(n: int, shift: int) -> tuple[slice, slice]:
    """Which of n tokens have a token at `shift` from them, and which tokens those are."""
    end = max(0, n - abs(shift))
    shorter, moved = slice(0, end), slice(n - end, n)
    return (shorter, moved) if shift >= 0 else (moved, shorter)
