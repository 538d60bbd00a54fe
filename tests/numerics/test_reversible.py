"""Reversible layers: the same function as their plain evaluation, at the memory of one layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lra.models import reversible
from oracles import holes, tokens


class Layer(nn.Module):
    """What `run` asks of a block, with noise of its own as hashing has."""

    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(rate)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(rate))
        self.out = nn.Linear(2 * width, width)

    def residual_attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm(x)
        blocked = None if mask is None else ~mask
        out, _ = self.attention(x, x, x, key_padding_mask=blocked, need_weights=False)
        return self.dropout(out) * torch.rand_like(out)

    def residual_mlp(self, x: Tensor) -> Tensor:
        return self.out(self.mlp(x))


def stack(depth: int, rate: float = 0.3) -> nn.ModuleList:
    torch.manual_seed(0)
    return nn.ModuleList(Layer(8, rate) for _ in range(depth)).double()


def plain(blocks: nn.ModuleList, x: Tensor, mask: Tensor | None) -> Tensor:
    x1 = x2 = x
    for block in blocks:
        x1 = x1 + block.residual_attention(x2, mask)
        x2 = x2 + block.residual_mlp(x1)
    return (x1 + x2) / 2


def outcome(function, blocks: nn.ModuleList, mask: Tensor | None) -> tuple:
    """Output, gradients, and what the generator draws next."""
    x = tokens(2, 11, 8).requires_grad_()
    torch.manual_seed(1)
    out = function(blocks, x, mask)
    loss = (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum()
    grads = torch.autograd.grad(loss, [x, *(p for p in blocks.parameters() if p.requires_grad)])
    return out, grads, torch.rand(3)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("depth", [1, 4])
def test_equals_plain_evaluation_with_dropout(depth, masked):
    blocks = stack(depth)
    mask = holes(1, 11).expand(2, -1) if masked else None
    assert_close(outcome(reversible.run, blocks, mask), outcome(plain, blocks, mask))


def test_a_block_used_twice_and_a_frozen_weight():
    blocks = stack(2)
    blocks[1].out.weight.requires_grad_(False)
    blocks = nn.ModuleList([blocks[0], blocks[1], blocks[0]])
    assert_close(outcome(reversible.run, blocks, None), outcome(plain, blocks, None))


def test_gradients_reach_weights_where_the_input_has_none():
    blocks = stack(2, rate=0.0)
    reversible.run(blocks, tokens(2, 5, 8), None).sum().backward()
    assert all(p.grad is not None for p in blocks.parameters())


def test_evaluation_without_gradients():
    blocks = stack(3).eval()
    with torch.no_grad():
        torch.manual_seed(0)
        expected = plain(blocks, tokens(2, 5, 8), None)
        torch.manual_seed(0)
        assert_close(reversible.run(blocks, tokens(2, 5, 8), None), expected)


def test_both_computations_run_at_the_same_precision():
    """bfloat16 attention in the second computation must undo bfloat16 attention in the first."""
    found = []
    blocks = stack(2, rate=0.0).float()
    for block in blocks:
        block.out.register_forward_hook(lambda module, inputs, out: found.append(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = reversible.run(blocks, tokens(2, 5, 8).float(), None)
    out.sum().backward()
    assert found == [torch.bfloat16] * 4
    assert all(p.grad.isfinite().all() for p in blocks.parameters())


def kept(function, depth: int) -> int:
    """Elements that the graph holds on to for backward, weights left out."""
    blocks, sizes = stack(depth), {}
    weights = {p.data_ptr() for p in blocks.parameters()}

    def pack(t: Tensor) -> Tensor:
        if t.data_ptr() not in weights:
            sizes[t.data_ptr()] = t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = function(blocks, tokens(2, 11, 8).requires_grad_(), None)
        assert out.requires_grad
    return sum(sizes.values())


def test_what_is_kept_does_not_grow_with_depth():
    assert kept(reversible.run, 8) == kept(reversible.run, 1) == 2 * 2 * 11 * 8
    assert kept(plain, 8) > 4 * kept(plain, 1)
