"""Sparse Transformer against its N x N masks, its limits and how far two layers reach."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.sparse
from lra import attention
from oracles import gradients, holes, layer, tokens
from tiny import examples

PATTERN = pytest.mark.parametrize("pattern", ["fixed", "strided"])
CAUSAL = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        m = self.inner
        options = (m.pattern, m.stride, m.summary, m.causal, mask)
        return m.merge(naive.sparse.attention(*m.project(x), *options))


@PATTERN
@CAUSAL
@given(
    length=st.integers(1, 90), stride=st.integers(1, 40), part=st.floats(0, 1), mask=st.booleans()
)
@examples(40)
def test_equals_its_dense_mask(causal, pattern, length, stride, part, mask):
    summary = max(1, round(part * stride))
    options = {"pattern": pattern, "stride": stride, "summary": summary}
    module = layer("sparse", 2, 4, causal=causal, **options)
    x, mask = tokens(2, length, 8), holes(2, length) if mask else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@PATTERN
@CAUSAL
@pytest.mark.parametrize("stride", [1, 60, 61, 128])
def test_a_stride_of_one_or_of_the_length_is_full_attention(stride, causal, pattern):
    x, mask = tokens(3, 60, 16), holes(3, 60)
    module = layer("sparse", 2, 8, causal=causal, pattern=pattern, stride=stride, summary=1)
    full = layer("transformer", 2, 8, causal=causal)
    for m in (None, mask):
        assert_close(gradients(module, x, m), gradients(full, x, m))


def seen(modules, query: int, length: int) -> set[int]:
    """The tokens that the output at `query` of these layers, one after another, depends on."""
    x = tokens(1, length, 16).requires_grad_()
    out = x
    for module in modules:
        out = module(out)
    out[0, query].sum().backward()
    return set(x.grad[0].any(dim=-1).nonzero().flatten().tolist())


def test_one_strided_layer_sees_a_window_and_a_column():
    module = layer("sparse", 2, 8, pattern="strided", stride=8)
    assert seen([module], 30, 64) == {*range(22, 39), 6, 14, 46, 54, 62}
    causal = layer("sparse", 2, 8, pattern="strided", stride=8, causal=True)
    assert seen([causal], 30, 64) == {*range(22, 31), 6, 14}


def test_one_fixed_layer_sees_a_block_and_summaries():
    module = layer("sparse", 2, 8, stride=8, summary=2)
    assert seen([module], 30, 60) == {6, 7, 14, 15, 22, 23, *range(24, 32), 38, 39, 46, 47, 54, 55}
    causal = layer("sparse", 2, 8, stride=8, summary=2, causal=True)
    assert seen([causal], 30, 60) == {6, 7, 14, 15, 22, 23, *range(24, 31)}


@PATTERN
@pytest.mark.parametrize("query", [0, 30, 63])
def test_two_layers_reach_everything(query, pattern):
    """Every token is two steps from every other; causal, from every later one."""
    layers = [layer("sparse", 2, 8, pattern=pattern, stride=8, summary=2) for _ in range(2)]
    assert seen(layers, query, 64) == set(range(64))
    causal = [
        layer("sparse", 2, 8, pattern=pattern, stride=8, summary=2, causal=True) for _ in range(2)
    ]
    assert seen(causal, query, 64) == set(range(query + 1))


@PATTERN
@CAUSAL
def test_large_scores_do_not_overflow(causal, pattern):
    """Far keys may score thousands above near ones, and the other way round."""
    module = layer("sparse", 2, 8, pattern=pattern, stride=8, summary=2, causal=causal)
    x = 100 * tokens(2, 60, 16)
    out, grads = gradients(module, x)
    expected, expected_grads = gradients(Naive(module), x)
    assert_close(out, expected)
    assert all(gradient.isfinite().all() for gradient in grads)
    assert_close(grads, expected_grads, rtol=1e-6, atol=1e-4)


@PATTERN
def test_dropout_drops_attention_weights(pattern):
    """On average nothing changes, though every sample does."""
    module = layer("sparse", 1, 4, pattern=pattern, stride=4, summary=1, dropout=0.3)
    x = tokens(1, 20, 4).expand(4000, -1, -1)
    expected = module(x[:1])
    torch.manual_seed(0)
    samples = module.train()(x)
    error = samples.std(dim=0) / len(x) ** 0.5
    assert error.min() > 1e-4
    assert ((samples.mean(dim=0) - expected[0]).abs() < 5 * error).all()


def test_a_summary_longer_than_its_block_is_refused():
    with pytest.raises(ValueError, match="options.summary: 8 is more than the stride of 4"):
        attention.build("sparse", 16, 2, 64, stride=4)
