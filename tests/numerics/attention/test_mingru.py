"""minGRU against a loop over tokens and the paper's scan in log-space."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.mingru
from lra import attention
from lra.attention.mingru import candidate, states
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module, causal):
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        m = self.inner
        c = naive.mingru.candidate(m.value(x))
        real = 1 if mask is None else mask[:, :, None]
        out = naive.mingru.states((m.query(x) + m.gate_bias[0]).sigmoid() * real, c)
        if not self.causal:
            z = (m.key(x) + m.gate_bias[1]).sigmoid() * real
            out = out + naive.mingru.states(z.flip(1), c.flip(1)).flip(1)
        return m.out(out)


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@given(length=st.integers(1, 100))
@examples(20)
def test_equals_its_naive_form(causal, length):
    module = layer("mingru", 2, 8, causal=causal)
    x = tokens(2, length, 16)
    for mask in (None, holes(2, length)):
        expected = gradients(Naive(module, causal), x, mask)
        assert_close(gradients(module, x, mask), expected)


def test_equals_the_scan_in_log_space():
    gates, x = tokens(2, 300, 32).split(16, 2)
    c = candidate(x)
    expected = naive.mingru.states_in_log_space(gates.sigmoid(), c)
    assert_close(naive.mingru.states(gates.sigmoid(), c), expected)
    assert_close(states(gates, c, False), expected)


def test_candidates_are_positive_and_continuous():
    x = torch.tensor([-100.0, -1e-6, 0.0, 1e-6, 100.0])
    assert_close(candidate(x), torch.tensor([0.0, 0.5, 0.5, 0.5, 100.5]), atol=2e-6, rtol=0)
    assert (candidate(torch.linspace(-80, 80, 1001)) > 0).all()


def test_a_closed_gate_keeps_and_an_open_one_replaces():
    c = candidate(tokens(1, 6, 4))
    gates = torch.full_like(c, -1e4)
    assert_close(states(gates, c, False), torch.zeros_like(c))
    gates[:, 2] = 1e4
    expected = c[:, [2]].expand(-1, 4, -1)
    assert_close(states(gates, c, False)[:, 2:], expected)
    assert_close(states(gates, c, True)[:, :3], c[:, [2]].expand(-1, 3, -1))
    assert_close(states(torch.full_like(c, 1e4), c, False), c)


@pytest.mark.parametrize("gate", [-1e4, -20.0, -9.0, 0.0, 20.0, 1e4])
def test_float32_is_near_float64_over_many_tokens(gate):
    """The scan in log-space is wrong by 2 % with a gate of 20: a sum of logarithms is 3e5."""
    c = candidate(tokens(1, 16_384, 4))
    gates = gate + 0.01 * tokens(1, 16_384, 4)
    variables = [
        [t.detach().to(kind).requires_grad_() for t in (gates, c)]
        for kind in (torch.float32, torch.float64)
    ]
    outs = [states(*each, False) for each in variables]
    assert_close(outs[0].double(), outs[1], rtol=3e-4, atol=1e-6)
    for out, each in zip(outs, variables, strict=True):
        assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), each))


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_long_sequences_stay_finite(half, scale):
    torch.manual_seed(0)
    module = attention.build("mingru", 32, 2, 16_384)
    x = (scale * torch.randn(1, 16_384, 32)).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = module(x)
    grads = torch.autograd.grad(out.float().square().sum(), [x, *module.parameters()])
    assert all(t.isfinite().all() for t in (out, *grads))
