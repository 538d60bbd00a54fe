"""An RMS norm and a gate, the end of mamba2, deltanet and retention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu

silu_backward = torch.ops.aten.silu_backward.grad_input  # writes into `grad_input`


class GatedNorm(torch.autograd.Function):
    """RMS norm of y times silu(gate), or of y times silu(gate) where `gate_first`.

    apply(y (..., D), gate (..., D), eps, gate_first) -> (..., D)

    eps is added to the mean square. The norm's weights belong into the projection that follows. y
    and gate alone are kept for the gradients, which are made in few tensors of that size: with a
    layer for each step, five are kept. y's gradient has y's strides, so products take it as it is.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, gate: Tensor, eps: float, gate_first: bool) -> Tensor:
        ctx.save_for_backward(y, gate)
        ctx.eps, ctx.gate_first = eps, gate_first
        out = silu(gate).mul_(y)
        return out.mul_(inverse_rms(out if gate_first else y, eps))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        y, gate = ctx.saved_tensors
        opened = silu(gate)
        if ctx.gate_first:
            z = y * opened
            to_y = before_norm(grad, z, inverse_rms(z, ctx.eps))
            to_gate = torch.mul(to_y, y, out=z)
            to_y *= opened
        else:
            scale = inverse_rms(y, ctx.eps)
            to_gate = (grad * y).mul_(scale)
            to_y = before_norm(opened.mul_(grad), y, scale)
        silu_backward(to_gate, gate, grad_input=to_gate)
        return to_y, to_gate, None, None


def before_norm(grad: Tensor, z: Tensor, scale: Tensor) -> Tensor:
    """The gradient by z (..., D) of z times its inverse RMS, `scale` (..., 1)"""
    along = (grad * z).sum(-1, keepdim=True).mul_(scale.square()).div_(z.shape[-1])
    return (z * along).sub_(grad).mul_(-scale)


def inverse_rms(t: Tensor, eps: float) -> Tensor:
    """t (..., D) -> (..., 1); without a square of t's size"""
    squares = torch.linalg.vector_norm(t, dim=-1, keepdim=True).square_()
    return squares.div_(t.shape[-1]).add_(eps).rsqrt_()
