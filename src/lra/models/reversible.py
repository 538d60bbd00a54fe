"""Reversible residual layers (Kitaev et al. 2020, arXiv:2001.04451, section 3, equations 7 to 9).

A layer's inputs are computed back from its outputs, so training keeps the activations of the last
layer alone, whatever the depth, and computes every layer twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def run(blocks: Iterable[nn.Module], x: Tensor, mask: Tensor | None) -> Tensor:
    """x (B, N, dim) through reversible layers: y1 = x1 + f(x2), y2 = x2 + g(y1).

    f is a block's `residual_attention(x, mask)` and g its `residual_mlp(x)`. Both streams start as
    x, and the result is their mean: the paper leaves open how two streams become one. Dropout and
    hashing draw the same numbers in the second computation; modules that update a buffer while
    training would do so twice, so they must not be run in this way.
    """
    blocks = list(blocks)
    weights = {id(p): p for block in blocks for p in block.parameters() if p.requires_grad}
    y1, y2 = Layers.apply(blocks, mask, x, *weights.values())
    return (y1 + y2) / 2


class Layers(torch.autograd.Function):
    """apply(blocks, mask, x, *weights of the blocks) -> the two streams after the last block"""

    @staticmethod
    def forward(ctx, blocks, mask: Tensor | None, x: Tensor, *weights: Tensor):
        ctx.blocks, ctx.device = blocks, x.device
        ctx.precision = {
            "enabled": torch.is_autocast_enabled(x.device.type),
            "dtype": torch.get_autocast_dtype(x.device.type),
        }
        ctx.draws = []  # the generators' states before every f and g
        x1 = x2 = x
        for block in blocks:
            ctx.draws.append(random_state(x.device))
            x1 = x1 + block.residual_attention(x2, mask)
            ctx.draws.append(random_state(x.device))
            x2 = x2 + block.residual_mlp(x1)
        ctx.save_for_backward(mask, x1, x2, *weights)
        return x1, x2

    @staticmethod
    def backward(ctx, grad1: Tensor, grad2: Tensor):
        mask, x1, x2, *weights = ctx.saved_tensors
        sums: list[Tensor | None] = [None] * len(weights)

        def undo(f: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, grad: Tensor):
            """y - f(x), and what `grad` of f(x) is to x; to the weights it is added to `sums`."""
            set_random_state(draws.pop(), ctx.device)
            with torch.enable_grad(), autocast:
                x = x.detach().requires_grad_()
                out = f(x)
            grads = torch.autograd.grad(out, [x, *weights], grad.to(out.dtype), allow_unused=True)
            for i, found in enumerate(grads[1:]):
                if found is not None:
                    sums[i] = found if sums[i] is None else sums[i] + found
            return y - out.detach(), grads[0]

        draws = list(ctx.draws)
        # weights cast in `forward` have no gradient, so their copies must not be taken from a cache
        autocast = torch.autocast(ctx.device.type, **ctx.precision, cache_enabled=False)
        with torch.random.fork_rng([ctx.device] if ctx.device.type == "cuda" else []):
            for block in reversed(ctx.blocks):
                x2, through = undo(block.residual_mlp, x1, x2, grad2)
                grad1 = grad1 + through
                x1, through = undo(lambda x: block.residual_attention(x, mask), x2, x1, grad1)  # noqa: B023
                grad2 = grad2 + through
        return None, None, grad1 + grad2, *sums


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Of torch's default generators: the CPU's, and that of a CUDA device in use."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), cuda


def set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    cpu, cuda = state
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda, device)
