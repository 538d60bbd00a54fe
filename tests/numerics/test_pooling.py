"""Pooling by multihead attention: sets, masks, and the head by head form."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from lra.models.pooling import PMA
from naive import mab
from oracles import gradients, holes, tokens
from tiny import examples


def pooling(dim: int = 16, heads: int = 2) -> PMA:
    torch.manual_seed(0)
    return PMA(dim, heads).double().eval()


class Naive(nn.Module):
    """One example at a time, over its real tokens alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, mask):
        first, rows = self.inner.feed_forward, []
        for tokens_, real in zip(x, mask, strict=True):
            z = torch.relu(tokens_[real] @ first.weight.T + first.bias)
            rows.append(mab.block(self.inner.block, self.inner.seed, z))
        return torch.cat(rows)


class Same(nn.Module):
    """What `gradients` calls with a mask of x must not mask the pooled outputs."""

    def __init__(self, inner, mask):
        super().__init__()
        self.inner, self.mask = inner, mask

    def forward(self, x, _):
        return self.inner(x, self.mask)


@given(length=st.integers(1, 40))
@examples(25)
def test_equals_its_naive_form(length):
    module, x = pooling(), tokens(3, length, 16)
    mask = holes(1, length).expand(3, -1).clone()
    mask[:, 0] = True
    for m in (torch.ones_like(mask), mask):
        both = (gradients(Same(inner, m), x) for inner in (module, Naive(module)))
        assert_close(*both)
    assert_close(module(x), module(x, torch.ones_like(mask)))


def test_the_order_of_tokens_does_not_matter():
    module, x, mask = pooling(), tokens(2, 30, 16), holes(1, 30).expand(2, -1)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert_close(module(x[:, order]), module(x))
    assert_close(module(x[:, order], mask[:, order]), module(x, mask))


def test_masked_tokens_do_not_matter():
    module, x = pooling(), tokens(2, 30, 16)
    mask = torch.arange(30).expand(2, -1) < 20
    x[:, 20:] = 100
    assert_close(module(x, mask), module(x[:, :20]))


def test_rows_without_any_real_token_stay_finite():
    x, mask = tokens(2, 7, 16), torch.ones(2, 7, dtype=torch.bool)
    mask[1] = False
    out, grads = gradients(Same(pooling(), mask), x)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)
