"""Local attention: blocks, each a full attention of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import naive.local
from oracles import gradients, layer, tokens
from tiny import examples


@given(length=st.integers(1, 90), block=st.integers(1, 40))
@examples(40)
def test_equals_one_full_attention_per_block(length, block):
    module = layer("local", 2, 8, block_size=block)
    x = tokens(2, length, 16)
    expected = module.merge(naive.local.attention(*module.project(x), block))
    assert_close(module(x), expected)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_one_block_is_full_attention(causal):
    x = tokens(2, 60, 16)
    one_block = layer("local", 2, 8, block_size=64, causal=causal)
    assert_close(gradients(one_block, x), gradients(layer("transformer", 2, 8, causal=causal), x))


def test_does_not_look_outside_its_block():
    module = layer("local", 2, 8, block_size=10)
    x = tokens(1, 40, 16).requires_grad_()
    module(x)[:, 10:20].sum().backward()
    assert x.grad[:, 10:20].abs().min() > 0
    assert x.grad[:, :10].abs().max() == x.grad[:, 20:].abs().max() == 0
