"""Longformer against its N x N form, and its limits."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import naive.longformer
from lra import attention
from lra.attention import longformer
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module, causal):
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        return naive.longformer.attention(self.inner, x, mask, self.causal)


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operator returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        many = out if isinstance(out, (tuple, list)) else [out]
        for tensor in (t for t in many if isinstance(t, torch.Tensor)):
            self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@given(
    length=st.integers(1, 200),
    half=st.integers(1, 40) | st.just(256),
    global_tokens=st.integers(0, 5),
    block=st.sampled_from([8, 24, 128]),
)
@examples(30)
def test_equals_its_naive_form(causal, length, half, global_tokens, block):
    options = {"window": 2 * half, "global_tokens": global_tokens}
    module = layer("longformer", 2, 4, causal=causal, **options)
    x = tokens(2, length, 8)
    with mock.patch.object(longformer, "BLOCK", block):
        for mask in (None, holes(2, length)):
            expected = gradients(Naive(module, causal), x, mask)
            assert_close(gradients(module, x, mask), expected)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_who_sees_whom(causal):
    module = layer("longformer", 1, 4, causal=causal, window=6, global_tokens=2)
    x = tokens(1, 30, 4)
    sees = torch.autograd.functional.jacobian(lambda x: module(x).sum((0, 2)), x)[:, 0].any(-1)
    for i in range(30):
        if causal:
            expected = range(max(i - 6, 0), i + 1)
        elif i < 2:
            expected = range(30)
        else:
            expected = sorted({0, 1} | set(range(max(i - 3, 0), min(i + 4, 30))))
        assert sees[i].nonzero().flatten().tolist() == list(expected)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("length", [1, 60, 150])
def test_a_window_of_twice_the_length_is_full_attention(length, causal):
    options = {"window": 2 * length, "global_tokens": 0}
    module = layer("longformer", 2, 8, causal=causal, **options)
    full = layer("transformer", 2, 8, causal=causal)
    full.load_state_dict(module.state_dict())
    x, mask = tokens(2, length, 16), holes(2, length)
    for m in (None, mask):
        assert_close(gradients(module, x, m), gradients(full, x, m))


def test_a_global_row_is_full_attention_under_the_global_projections():
    module, full = layer("longformer", 2, 8, window=8), layer("transformer", 2, 8)
    for name in ("query", "key", "value"):
        getattr(full, name).load_state_dict(getattr(module, f"global_{name}").state_dict())
    full.out.load_state_dict(module.out.state_dict())
    x, mask = tokens(2, 70, 16), holes(1, 70).expand(2, -1)
    for m in (None, mask):
        assert_close(module(x, m)[:, 0], full(x, m)[:, 0])


def test_no_tensor_grows_with_the_square_of_the_length():
    module = layer("longformer", 1, 8, window=32)
    sizes = []
    for length in (1024, 2048):
        with Largest() as largest:
            module(tokens(1, length, 8).requires_grad_()).sum().backward()
        sizes.append(largest.elements)
    assert sizes[1] <= 2 * sizes[0] < 1024**2


def test_only_global_tokens_need_projections_of_their_own():
    def count(**options):
        module = attention.build("longformer", 16, 2, 64, **options)
        return sum(p.numel() for p in module.parameters())

    assert count() == 7 * 16**2
    assert count(global_tokens=0) == count(causal=True) == 4 * 16**2


def test_an_odd_window_is_named():
    with pytest.raises(ValueError, match="options.window: 3 is odd"):
        attention.build("longformer", 16, 2, 64, window=3)


def test_gradients_of_a_global_token_are_not_summed_in_bfloat16():
    """Every block adds one: summed one after another, the last ones would be lost."""
    module, x = layer("longformer", 2, 8, 2048, window=16).float(), tokens(1, 2048, 16).float()
    exact = gradients(module, x)[1][0][:, 0]
    with mock.patch.object(longformer, "BLOCK", 8), torch.autocast("cpu", torch.bfloat16):
        rounded = gradients(module, x)[1][0][:, 0]
    assert (rounded - exact).norm() < 0.03 * exact.norm()


@given(half=st.integers(1, 12), length=st.integers(1, 40))
@examples(20)
def test_a_band_sees_exactly_its_reach_on_either_side(half, length):
    module = layer("longformer", 1, 4, window=2 * half, global_tokens=0)
    assert module.reach == half
    x = tokens(1, length, 4)
    sees = torch.autograd.functional.jacobian(lambda x: module(x).sum((0, 2)), x)[:, 0].any(-1)
    place = torch.arange(length)
    assert torch.equal(sees, (place[:, None] - place).abs() <= half)


def test_global_tokens_reach_all():
    assert layer("longformer", 1, 4, window=6).reach is None
    assert layer("longformer", 1, 4, window=6, variant="official").reach == 3
    assert layer("longformer", 1, 4, window=6, causal=True).reach == 6
