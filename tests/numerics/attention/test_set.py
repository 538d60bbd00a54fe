"""Set Transformer's induced attention against its head by head form, and as a map of sets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.set
from lra.attention.shared import mab
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        return naive.set.attention(
            self.inner, x, x.new_ones(x.shape[:2]).bool() if mask is None else mask
        )


@given(length=st.integers(1, 40), points=st.integers(1, 9))
@examples(25)
def test_equals_its_naive_form(length, points):
    module = layer("set", 2, 4, inducing=points)
    x = tokens(3, length, 8)
    for mask in (None, holes(3, length)):
        assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


def test_a_block_is_that_of_the_paper():
    """LN(A + rFF(A)) with A = LN(X + Multihead(X, Y, Y)), Multihead by PyTorch's own."""
    torch.manual_seed(0)
    block = mab.MAB(16, 2).double()
    x, y, mask = tokens(2, 5, 16), tokens(2, 9, 16), holes(1, 9).expand(2, -1)
    reference = nn.MultiheadAttention(16, 2, bias=False, batch_first=True).double()
    weights = torch.cat([p.weight for p in (block.query, block.key, block.value)])
    reference.load_state_dict({"in_proj_weight": weights, "out_proj.weight": block.out.weight})
    attended = x + reference(x, y, y, key_padding_mask=~mask, need_weights=False)[0]
    norm = torch.nn.functional.layer_norm
    attended = norm(attended, (16,), eps=1e-6)
    rows = torch.relu(attended @ block.feed_forward.weight.T + block.feed_forward.bias)
    assert_close(block(x, y, mask), norm(attended + rows, (16,), eps=1e-6))


def test_permuted_tokens_give_permuted_outputs():
    module = layer("set", 2, 8)
    x, mask = tokens(2, 50, 16), holes(1, 50).expand(2, -1)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    assert_close(module(x)[:, order], module(x[:, order]))
    assert_close(module(x, mask)[:, order], module(x[:, order], mask[:, order]))


@pytest.mark.parametrize("points", [1, 3], ids=lambda points: f"M{points}")
def test_all_that_tokens_learn_of_each_other_goes_through_the_inducing_points(points):
    """Another sequence from which the points read the same is the same to every token."""
    module = layer("set", 1, 8, inducing=points)
    x = tokens(1, 20, 8)
    read = module.induced(module.points[None], x)
    assert read.shape == (1, points, 8)
    assert_close(module(x)[:, :5], mab.cross(module, x[:, :5], read))
    twice = torch.cat([x, x], dim=1)  # attention does not count
    assert_close(module(twice)[:, :20], module(x))


def test_one_inducing_point_says_the_same_to_every_token():
    out = layer("set", 2, 8, inducing=1)(tokens(2, 30, 16))
    assert_close(out, out[:, :1].expand_as(out))
    several = layer("set", 2, 8, inducing=2)(tokens(2, 30, 16))
    assert (several - several[:, :1]).abs().max() > 1e-3
