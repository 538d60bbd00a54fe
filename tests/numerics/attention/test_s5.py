"""S5 and LRU against their recurrence, a dense state space, and the ring."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import gelu
from torch.testing import assert_close

import naive.s5
from lra import attention
from lra.attention.s5 import Scan
from oracles import gradients, holes, layer, shape_id, tokens
from tiny import examples

VARIANTS = {"s5": {"state": 12, "blocks": 3}, "lru": {"variant": "lru", "state": 6}}
EVERY = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def system(module) -> tuple[torch.Tensor, ...]:
    """decay (P,), b (P, C) and c (1 or 2, C, P), with both poles of S5's pairs."""
    b, c = torch.view_as_complex(module.b), torch.view_as_complex(module.c)
    if hasattr(module.poles, "nu_log"):
        poles = module.poles
        decay = (-poles.nu_log.exp() + 1j * poles.theta_log.exp()).exp()
        return decay, poles.gamma_log.exp()[:, None] * b, c
    a = torch.complex(module.poles.a_real, module.poles.a_imag)
    decay = (module.poles.log_dt.exp() * a).exp()
    b = ((decay - 1) / a)[:, None] * b
    return tuple(torch.cat([t, t.conj()], dim) for t, dim in ((decay, 0), (b, 0), (c, 2)))


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        v = self.inner.value(x)
        if mask is not None:
            v = v * mask[:, :, None]
        return self.inner.out(gelu(naive.s5.layer(v, *system(self.inner), self.inner.d)))


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@EVERY
@pytest.mark.parametrize("shape", [(2, 1, 1, 4), (2, 2, 2, 2), (2, 61, 2, 4)], ids=shape_id)
def test_equals_its_recurrence(shape, options, causal):
    batch, length, heads, size = shape
    module = layer("s5", heads, size, causal=causal, **options)
    x = tokens(batch, length, heads * size)
    for mask in (None, holes(batch, length)):
        assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@given(length=st.integers(1, 150), backward=st.booleans())
@examples(40)
def test_the_scan_is_the_loop_at_any_length(length, backward):
    u, w = (torch.view_as_complex(tokens(2, length * n, 6).view(2, -1, 3, 2)) for n in (1, 2))
    u, w = u.requires_grad_(), w[:, :length]
    decay = torch.view_as_complex(tokens(1, 3, 2)[0]).requires_grad_()
    decay_ = decay / (1 + decay.abs())
    order = (lambda t: t.flip(1)) if backward else (lambda t: t)
    loop = order(naive.s5.states(order(u), decay_, torch.eye(3, dtype=u.dtype)))
    found = Scan.apply(u, decay_, backward)
    grads = [torch.autograd.grad((s * w).sum().real, [u, decay], retain_graph=True)
             for s in (found, loop)]  # fmt: skip
    assert_close(found, loop)
    assert_close(*grads)


@pytest.mark.parametrize("scale", [-14.0, 4.0], ids=["decay-near-1", "decay-near-0"])
@EVERY
def test_extreme_decays(options, scale):
    module = layer("s5", 1, 4, **options)
    name = "nu_log" if "variant" in options else "log_dt"
    nn.init.constant_(getattr(module.poles, name), scale)
    x = tokens(2, 90, 4)
    assert_close(gradients(module, x), gradients(Naive(module), x))


def test_one_block_is_the_dense_state_space_of_hippo_n():
    """A real matrix P x P, real B and C, one step for all: discretised whole, not pole by pole."""
    module = layer("s5", 1, 4, causal=True, state=8)
    a = naive.s5.hippo_n(8)
    values, vectors = torch.linalg.eig(a)
    kept = torch.stack([(values.imag - imag).abs().argmin() for imag in module.poles.a_imag])
    vectors = vectors[:, kept]
    b, c = tokens(1, 8, 4)[0], tokens(1, 4, 8)[0]
    with torch.no_grad():
        module.poles.a_imag.copy_(values.imag[kept])
        module.poles.log_dt.fill_(-3.0)
        module.b.copy_(torch.view_as_real(vectors.mH @ b.to(vectors.dtype)))
        module.c[0].copy_(torch.view_as_real(c.to(vectors.dtype) @ vectors))
        module.d.zero_()
    x = tokens(2, 40, 4)
    dt = module.poles.log_dt[0].exp().item()
    expected = module.out(gelu(naive.s5.dense(module.value(x), a, b, c, dt)))
    assert_close(module(x), expected)


def test_poles_start_as_hippo_n_in_every_block():
    module = attention.build("s5", 16, 2, 64, state=24, blocks=3)
    values = torch.linalg.eigvals(naive.s5.hippo_n(8))
    above = values.imag[values.imag > 0].sort(descending=True).values.float()
    assert_close(module.poles.a_imag, above.repeat(3), rtol=1e-5, atol=1e-5)
    assert (module.poles.a_real == -0.5).all()


def test_b_and_c_start_as_normal_as_in_hippo_ns_eigenvectors():
    """V^H B and C V of S5's code have the same moments: V is unitary, and orthogonal to its own
    conjugate."""
    torch.manual_seed(0)
    module = attention.build("s5", 256, 2, 64, state=64)
    vectors = torch.linalg.eig(naive.s5.hippo_n(64)).eigenvectors[:, :32].to(torch.complex64)
    b = vectors.mH @ (torch.randn(64, 256) / 8).to(vectors.dtype)
    for found, expected in (
        (module.b, torch.view_as_real(b)),
        (module.c, torch.randn(2, 256, 32, 2) / 8),
    ):
        assert_close(found.square().mean(), expected.square().mean(), rtol=0.05, atol=0)
        assert found.prod(-1).mean().abs() < 1e-3 > expected.prod(-1).mean().abs()


def test_real_parts_are_clipped():
    module = layer("s5", 1, 4, state=8)
    nn.init.constant_(module.poles.a_real, 0.3)
    assert (module.poles()[0].abs() < 1).all()


@pytest.mark.parametrize("ring", [(0.0, 1.0), (0.4, 0.9), (0.9, 0.999)], ids=str)
def test_lambda_starts_on_its_ring(ring):
    torch.manual_seed(0)
    r_min, r_max = ring
    module = attention.build(
        "s5", 16, 2, 64, variant="lru", state=4096, r_min=r_min, r_max=r_max, max_phase=0.6
    )
    decay, gain = module.poles()
    radius, phase = decay.abs(), decay.angle()
    assert (r_min - 1e-5 <= radius).all() and (radius <= r_max + 1e-5).all()
    assert (phase >= 0).all() and phase.max() < 0.6 and (phase.mean() - 0.3).abs() < 0.01
    # of equal areas, equal shares: the squares of the radii are uniform
    middle = (r_min**2 + r_max**2) / 2
    assert (radius.square().mean() - middle).abs() < 0.02 * (r_max**2 - r_min**2) + 1e-5
    assert_close(gain.square(), 1 - radius.square(), rtol=1e-3, atol=1e-5)


def test_lru_keeps_white_noise_at_its_variance():
    torch.manual_seed(0)
    module = attention.build("s5", 64, 1, 64, variant="lru", causal=True, state=64, r_max=0.9)
    decay, gain = module.poles()
    b = gain[:, None] * torch.view_as_complex(module.b)
    states = naive.s5.states(torch.randn(8, 400, 64), decay, b)[:, 100:]
    assert (states.abs().square().mean() - 1).abs() < 0.05


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@EVERY
def test_padding_on_either_side_is_nothing(options, before):
    module, x = layer("s5", 2, 8, **options), tokens(2, 90, 16)
    real = torch.arange(90) >= 40 if before else torch.arange(90) < 50
    assert_close(module(x, real.expand(2, -1))[:, real], module(x[:, real]))


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@EVERY
def test_16384_tokens_stay_finite(options, half):
    torch.manual_seed(0)
    module = attention.build("s5", 8, 1, 16384, **options)
    x = torch.randn(1, 16384, 8)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out, grads = gradients(module, x)
    assert out.isfinite().all() and all(g.isfinite().all() for g in grads)
    expected = module.double()(x.double())
    assert (out - expected).norm() < (0.01 if half else 1e-4) * expected.norm()


def test_a_state_that_is_not_whole_pairs_is_refused_with_the_next_one():
    with pytest.raises(ValueError, match=r"options.state: 10 is .* 3 blocks; 12 is"):
        attention.build("s5", 16, 2, 64, state=10, blocks=3)
