"""Segments with memories of earlier ones, for Transformer-XL and Compressive Transformer.

In one layer, a segment sees only the layer's inputs at earlier segments, with the gradient stopped.
They are known before the layer starts, so all segments are computed at once.

For shape letters see lra.attention.base; m are the keys of a memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from lra.attention.base import all_real, lower_triangle
from lra.attention.shared.blocks import split


class Shared(torch.autograd.Function):
    """x W^T + b as two outputs of one multiplication that differ in where their gradients go.

    apply(x (..., i), weight (o, i), bias (o,) or None, own) -> two of (..., o). The second, the
    keys or values of a memory, sends its gradient to weight and bias only. The first sends it to x
    and, if `own`, also to weight and bias.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, own: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, bias)
        ctx.own = own
        out = linear(x, weight, bias)
        return out, out.detach()

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        to_weight = first + second if ctx.own else second
        # under autocast the gradients are bfloat16, what was saved is not
        to_x = (first @ weight.to(first.dtype)).to(x.dtype)
        to_weight = to_weight.flatten(0, -2)
        to_bias = None if bias is None else to_weight.sum(0).to(bias.dtype)
        to_weight = to_weight.mT @ x.flatten(0, -2).to(to_weight.dtype)
        return to_x, to_weight.to(weight.dtype), to_bias, None


def projected(x: Tensor, projection: nn.Linear, stops_gradients: bool) -> tuple[Tensor, Tensor]:
    """Keys or values of x for its own segment, and for later ones, where gradients may stop."""
    own, memory = Shared.apply(x, projection.weight, projection.bias, True)
    return own, memory if stops_gradients else own


def in_segments(
    x: Tensor, mask: Tensor | None, segment: int, causal: bool
) -> tuple[Tensor, Tensor | None]:
    """x (B, N, dim) -> (B, G, S, dim), and its mask (B, G, S); None where all see all."""
    size = min(segment, x.shape[1])
    if mask is None and (x.shape[1] > size or causal):
        # the tail of the last segment is padding, and the first segments lack memories
        mask = all_real(x)
    return split(x, size), None if mask is None else split(mask, size)


def earlier(x: Tensor, segments: int, count: int, skip: int = 0) -> Tensor:
    """The `count` segments before each of `segments`, without the last `skip` ones.

    x (B, at least G - 1 - skip, S, ...) -> (B, G, count S, ...), oldest first, zeros (False) where
    there are none.
    """
    first = x.new_zeros(len(x), count + skip, *x.shape[2:])
    padded = torch.cat([first, x[:, : segments - 1 - skip]], dim=1)
    shifts = [padded[:, shift : shift + segments] for shift in range(count)]
    return torch.cat(shifts, dim=2) if count > 1 else shifts[0]


def visible(memories: list[Tensor], own: Tensor, causal: bool) -> Tensor:
    """Which keys a query sees, (B, G, 1 or S, K): real ones of memories (B, G, m) and of its own
    segment (B, G, S)."""
    keys = [real[:, :, None] for real in (*memories, own)]
    if causal:
        keys[-1] = lower_triangle(own.shape[2], own.device, keys[-1])
        keys = [real.expand(-1, -1, own.shape[2], -1) for real in keys]
    return torch.cat(keys, dim=3)
