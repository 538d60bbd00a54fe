"""S4D against its recurrence, matrix exponentials and the paper's poles."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import gelu
from torch.testing import assert_close

import naive.s4d
import naive.s5
from lra import attention
from lra.attention import s4d
from lra.attention.s4d import imaginary
from oracles import gradients, holes, layer, shape_id, tokens
from tiny import examples

POLES = ["legs", "inv", "lin"]


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        m = self.inner
        v = m.value(x)
        if mask is not None:
            v = v * mask[:, :, None]
        a = torch.complex(-m.a_log.exp(), m.a_imag)
        y = naive.s4d.layer(v, a, m.log_dt.exp(), torch.view_as_complex(m.c), m.d)
        return m.out(gelu(y))


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize("poles", POLES)
@pytest.mark.parametrize("shape", [(2, 1, 1, 4), (2, 2, 2, 2), (2, 61, 2, 4)], ids=shape_id)
def test_equals_its_recurrence(shape, poles, causal):
    batch, length, heads, size = shape
    module = layer("s4d", heads, size, causal=causal, poles=poles, state=8)
    x = tokens(batch, length, heads * size)
    for mask in (None, holes(batch, length)):
        assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@given(length=st.integers(1, 150), causal=st.booleans())
@examples(20)
def test_equals_its_recurrence_at_any_length(length, causal):
    module = layer("s4d", 1, 2, causal=causal, state=4)
    x = tokens(1, length, 2)
    assert_close(module(x), Naive(module)(x))


@pytest.mark.parametrize("step", [-14.0, 4.0], ids=["decay-near-1", "decay-near-0"])
def test_extreme_steps(step):
    module = layer("s4d", 1, 4, state=8)
    nn.init.constant_(module.log_dt, step)
    x = tokens(2, 90, 4)
    assert_close(gradients(module, x), gradients(Naive(module), x))


def test_kernels_in_parts_are_those_of_all_channels(monkeypatch):
    module, x = layer("s4d", 1, 7, state=8), tokens(2, 33, 7)
    expected = gradients(module, x)
    monkeypatch.setattr(s4d, "CHANNELS", 3)
    assert_close(gradients(module, x), expected)


def test_of_kernels_nothing_else_is_kept_for_gradients():
    module, saved = layer("s4d", 2, 32), {}
    with saved_tensors_hooks(lambda t: saved.setdefault(t.data_ptr(), t), lambda t: t):
        module(tokens(1, 256, 64))
    # values, outputs before and after GELU, tokens, one kernel as long as all lags; the weights
    weights = sum(p.numel() for p in module.parameters())
    assert sum(t.numel() for t in saved.values()) <= 6 * 256 * 64 + weights


@pytest.mark.parametrize("poles", POLES)
def test_the_kernel_is_that_of_a_matrix_exponential(poles):
    """exp(dt A) of the diagonal matrix, its powers, and the input held over each step."""
    module = layer("s4d", 1, 3, state=6, poles=poles)
    for channel in range(3):
        a = torch.diag(torch.complex(-module.a_log.exp(), module.a_imag)[channel])
        step = torch.linalg.matrix_exp(module.log_dt.exp()[channel] * a)
        ones = torch.ones(3, dtype=a.dtype)
        state = torch.linalg.solve(a, (step - torch.eye(3)) @ ones)
        for lag, found in enumerate(module.kernels(40)[:, channel].T):
            powered = torch.linalg.matrix_power(step, lag) @ state
            assert_close(found, 2 * (torch.view_as_complex(module.c)[:, channel] @ powered).real)


def test_legs_is_the_real_system_of_hippo_n():
    """All of whose numbers are real: matrix HiPPO-N, and inputs and outputs in its eigenvectors."""
    module = layer("s4d", 1, 2, state=8)
    a = naive.s5.hippo_n(8)
    values, vectors = torch.linalg.eig(a)
    kept = torch.stack([(values.imag - imag).abs().argmin() for imag in module.a_imag[0]])
    vectors = vectors[:, kept]
    b = 2 * vectors.sum(1).real[:, None]  # of weight 1 at each pole and at its conjugate
    for channel in range(2):
        c = 2 * (torch.view_as_complex(module.c)[:1, channel] @ vectors.mH).real
        impulse = torch.eye(1, 50, dtype=a.dtype)[..., None]
        expected = naive.s5.dense(impulse, a, b, c, module.log_dt[channel].exp().item())
        assert_close(module.kernels(50)[0, channel], expected[0, :, 0], rtol=1e-5, atol=1e-7)


def test_poles_start_as_the_paper_says():
    assert_close(imaginary("lin", 6), math.pi * torch.tensor([0.0, 1.0, 2.0]))
    assert_close(imaginary("inv", 4), 4 / math.pi * torch.tensor([3.0, 1 / 3]))
    for state in (2, 16, 64):
        values = torch.linalg.eigvals(naive.s5.hippo_n(state))
        assert_close(values.real, torch.full_like(values.real, -0.5))
        above = values.imag[values.imag > 0].sort(descending=True).values
        assert_close(imaginary("legs", state).double(), above, rtol=1e-6, atol=1e-6)
    for poles in POLES:
        module = attention.build("s4d", 16, 2, 64, state=8, poles=poles)
        assert_close(-module.a_log.exp(), torch.full((16, 4), -0.5))
        assert_close(module.a_imag, imaginary(poles, 8).expand(16, 4))


def test_steps_start_within_their_bounds():
    module = attention.build("s4d", 512, 2, 64, dt_min=0.01, dt_max=0.02)
    steps = module.log_dt.exp()
    assert 0.00999 < steps.min() < 0.0101 and 0.0199 < steps.max() < 0.02001


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_padding_on_either_side_is_nothing(before):
    module, x = layer("s4d", 2, 8), tokens(2, 90, 16)
    real = torch.arange(90) >= 40 if before else torch.arange(90) < 50
    assert_close(module(x, real.expand(2, -1))[:, real], module(x[:, real]))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_16384_tokens_stay_finite(half):
    torch.manual_seed(0)
    module = attention.build("s4d", 8, 1, 16384, state=16)
    x = torch.randn(1, 16384, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out, grads = gradients(module, x)
    assert out.isfinite().all() and all(g.isfinite().all() for g in grads)
    expected = module.double()(x.double())
    assert (out - expected).norm() < (0.01 if half else 1e-4) * expected.norm()


def test_an_odd_state_is_refused_with_the_next_one():
    with pytest.raises(ValueError, match=r"options.state: 7 is odd.*: 8 does"):
        attention.build("s4d", 16, 2, 64, state=7)
