"""An RMS norm and a gate, the end of mamba2, deltanet and retention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

silu_backward = torch.ops.aten.silu_backward.grad_input  # writes into `grad_input`


class GatedNorm(torch.autograd.Function):
    """RMS norm of y times weight times silu(gate), or of y times silu(gate) where `gate_first`.

    apply(y (..., D), gate (..., D), weight (D,) or None, eps, gate_first) -> (..., D)

    eps is added to the mean square. y and gate alone are kept for the gradients, which are made in
    few tensors of that size: with a layer for each step, five are kept.
    """

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, gate: Tensor, weight: Tensor | None, eps: float, gate_first: bool
    ) -> Tensor:
        ctx.save_for_backward(y, gate, weight)
        ctx.eps, ctx.gate_first = eps, gate_first
        out = silu(gate).mul_(y)
        out *= inverse_rms(out if gate_first else y, eps)
        return out if weight is None else out.mul_(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, gate, given = ctx.saved_tensors
        weight = y.new_ones(y.shape[-1]) if given is None else given
        opened = silu(gate)
        z = y * opened if ctx.gate_first else y
        scale = inverse_rms(z, ctx.eps)
        product = (grad * z).mul_(scale)
        if not ctx.gate_first:
            to_gate = product * weight
            silu_backward(to_gate, gate, grad_input=to_gate)
            product *= opened
        to_weight = None if given is None else product.flatten(0, -2).sum(0)
        along = (product @ weight)[..., None].mul_(scale) / y.shape[-1]
        to_z = torch.mul(grad, weight, out=product)
        if not ctx.gate_first:
            to_z *= opened
        to_z = to_z.addcmul_(z, along, value=-1).mul_(scale)
        if ctx.gate_first:
            to_gate = torch.mul(to_z, y, out=z)
            to_z *= opened
            silu_backward(to_gate, gate, grad_input=to_gate)
        del opened, product  # room for a copy, made once and not in every product that takes it
        if to_z.stride() != y.stride():
            to_z = torch.empty_like(y).copy_(to_z)
        return to_z, to_gate, to_weight, None, None


def inverse_rms(t: Tensor, eps: float) -> Tensor:
    """t (..., D) -> (..., 1); without a square of t's size"""
    squares = torch.linalg.vector_norm(t, dim=-1, keepdim=True).square_()
    return squares.div_(t.shape[-1]).add_(eps).rsqrt_()
