"""Toeplitz products by FFT against the dense matrix."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import naive.toeplitz
from lra.attention.shared import toeplitz
from lra.attention.shared.toeplitz import convolve, fast_size
from oracles import tokens
from tiny import examples, slow


def outcome(product, *inputs):
    """The product and its gradients, with respect to all inputs that there are."""
    inputs = [t if t is None else t.clone().requires_grad_() for t in inputs]
    out = product(*inputs)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    variables = [t for t in inputs if t is not None]
    return out.detach(), torch.autograd.grad((out * weights).sum(), variables)


def inputs(n, lags, both, per_example, dtype=torch.float64):
    u = tokens(2, 3 * n, 1).view(2, 3, n)
    shape = (2, 3, lags) if per_example else (3, lags)
    kernels = [torch.linspace(-1, 2, u[..., :lags].numel(), dtype=u.dtype).view(2, 3, lags)]
    kernels.append(kernels[0].flip(0).cos())
    u, kernel, back = (t.to(dtype) for t in (u, *kernels))
    kernel, back = (t if per_example else t[0] for t in (kernel, back))
    assert kernel.shape == back.shape == shape
    return u, kernel, back if both else None


@pytest.mark.parametrize("per_example", [False, True], ids=["one-kernel", "kernel-each"])
@pytest.mark.parametrize("both", [False, True], ids=["causal", "both"])
@given(n=st.integers(1, 200), data=st.data())
@examples(40)
def test_equals_the_dense_matrix(both, per_example, n, data):
    lags = data.draw(st.one_of(st.just(n), st.integers(1, n)), label="lags")
    given = inputs(n, lags, both, per_example)
    assert_close(outcome(convolve, *given), outcome(naive.toeplitz.convolve, *given))


@pytest.mark.parametrize("per_example", [False, True], ids=["one-kernel", "kernel-each"])
@pytest.mark.parametrize("at_once", [1, 2, 3, 4])
def test_parts_of_the_channels_give_the_same(at_once, per_example, monkeypatch):
    monkeypatch.setattr(toeplitz, "CHANNELS", at_once)
    given = inputs(50, 20, True, per_example)
    in_parts = functools.partial(convolve, in_parts=True)
    assert_close(outcome(in_parts, *given), outcome(convolve, *given))


def test_lag_zero_is_the_forward_kernels():
    u, kernel, back = inputs(9, 9, True, False)
    zeroed = torch.cat([torch.zeros(3, 1), back[:, 1:]], dim=1)
    assert_close(convolve(u, kernel, back), convolve(u, kernel, zeroed), rtol=0, atol=0)


@pytest.mark.parametrize("autocast", [False, True], ids=["as-it-is", "autocast"])
@pytest.mark.parametrize("n", [1, 1000, *slow([16384])])
def test_bfloat16_is_convolved_in_float32(n, autocast):
    u, kernel, back = inputs(n, n, True, False, torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        halves, grads = outcome(convolve, u.bfloat16(), kernel, back)
    expected, _ = outcome(convolve, u.bfloat16().double(), kernel.double(), back.double())
    assert halves.dtype == torch.float32 and grads[0].dtype == torch.bfloat16
    assert (halves - expected).norm() < 1e-6 * expected.norm()


@given(least=st.integers(1, 1 << 20))
def test_sizes_have_small_factors(least):
    size = fast_size(least)
    assert least <= size <= 1.125 * least
    while size % 2 == 0 and size > 16:
        size //= 2
    assert size <= 16
