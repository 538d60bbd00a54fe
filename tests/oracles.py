"""What the tests of every mechanism need: a layer, tokens, gradients, masks."""

from __future__ import annotations

from typing import Literal, get_args, get_origin

import torch
from torch import Tensor, nn

from lra import attention


def shape_id(shape: tuple[int, int, int, int]) -> str:
    return "B{}-N{}-H{}-D{}".format(*shape)


def layer(name: str, heads: int, size: int, max_len: int = 512, **options) -> nn.Module:
    """A mechanism in float64 with weights of a fixed seed, dropout off."""
    torch.manual_seed(0)
    return attention.build(name, heads * size, heads, max_len, **options).double().eval()


def tokens(batch: int, length: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, width, dtype=torch.float64, generator=generator)


def holes(batch: int, length: int) -> Tensor:
    """A mask (B, N) with holes; its last row has no real token if there are two rows or more."""
    generator = torch.Generator().manual_seed(length)
    mask = torch.rand(batch, length, generator=generator) > 0.3
    if batch > 1:
        mask[-1] = False
    return mask


def gradients(module, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Of a sum that weighs every output differently, with respect to x and to all weights.

    Outputs of masked positions are free, so they are left out of the sum and returned as zeros.
    """
    x = x.clone().requires_grad_()
    out = module(x, mask)
    if mask is not None:
        out = out.masked_fill(~mask[:, :, None], 0)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    variables = [x, *(p for p in module.parameters() if p.requires_grad)]
    grads = torch.autograd.grad((out * weights).sum(), variables, materialize_grads=True)
    return out.detach(), grads


def choices(annotation) -> list:
    if annotation is bool:
        return [False, True]
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in choices(part)]


OPTIONS = [  # each value of each option of every mechanism by itself, unless it is the default
    (name, {option: value})
    for name in attention.names()
    for option, field in attention.option_model(name).model_fields.items()
    for value in choices(field.annotation)
    if value != field.default
]
