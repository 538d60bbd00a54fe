"""Linear Transformer against its N x N form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import elu
from torch.testing import assert_close

import naive.linear
from lra.attention import linear
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module, causal):
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        q, k, v = self.inner.project(x)
        q, k = elu(q) + 1, elu(k) + 1
        if mask is not None:
            k = k * mask[:, None, :, None]
        return self.inner.merge(naive.linear.attention(q, k, v, self.causal))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@given(length=st.integers(1, 300))
@examples(30)
def test_equals_its_naive_form(causal, length):
    module = layer("linear", 2, 8, causal=causal)
    x = tokens(2, length, 16)
    for mask in (None, holes(2, length)):
        expected = gradients(Naive(module, causal), x, mask)
        assert_close(gradients(module, x, mask), expected)


def test_one_head_at_a_time_equals_all_at_once():
    """The CPU's way and the GPU's."""
    q, k, v = (tokens(2, n, 16).unflatten(2, (2, 8)).requires_grad_()[:, :60] for n in (60, 61, 62))
    weights = tokens(2, 60, 16).unflatten(2, (2, 8))
    by_head = linear.ByHead.apply(q, k, v, None)
    features = (elu(q) + 1, elu(k) + 1, v)
    at_once = linear.linear(*(t.transpose(1, 2) for t in features)).transpose(1, 2)
    grads = [torch.autograd.grad((o * weights).sum(), [q, k, v]) for o in (by_head, at_once)]
    assert_close(by_head, at_once)
    assert_close(*grads)
