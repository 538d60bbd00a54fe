"""Linear Transformer against its N x N form."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import elu
from torch.testing import assert_close

from lra.attention import linear
from oracles import gradients, layer, tokens


class Naive(nn.Module):
    def __init__(self, module, causal):
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        q, k, v = self.inner.project(x)
        return self.inner.merge(linear.naive(elu(q) + 1, elu(k) + 1, v, self.causal))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@given(length=st.integers(1, 300))
@settings(max_examples=30)
def test_equals_its_naive_form(causal, length):
    module = layer("linear", 2, 8, causal=causal)
    x = tokens(2, length, 16)
    assert_close(gradients(module, x), gradients(Naive(module, causal), x))
