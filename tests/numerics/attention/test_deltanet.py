"""The delta rule against a loop over tokens, and what it writes, keeps and forgets."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import normalize, silu, softplus
from torch.testing import assert_close

import naive.conv
import naive.deltanet
from lra import attention
from lra.attention.deltanet import EPS, UNIT_EPS
from lra.attention.shared.delta import decays, delta_rule
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module, causal):
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        m = self.inner
        real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        features = []
        for i, projection in enumerate((m.query, m.key, m.value)):
            t = projection(x) * real[:, :, None]
            if m.taps is not None:
                t = naive.conv.attention(t, m.taps[i], mask, self.causal)
            features.append(m.split_heads(silu(t)))
        q, k, v = features
        q, k = (t / (t.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt() for t in (q, k))
        beta = torch.sigmoid(m.beta(x)) * real[:, :, None]
        alpha = torch.ones_like(beta)
        if m.alpha is not None:
            alpha = torch.exp(-m.a_log.exp() * softplus(m.alpha(x) + m.dt_bias))
            alpha = torch.where(real[:, :, None], alpha, 1)
        beta, alpha = (rearrange(t, "b n (r h) -> r b h n", h=m.heads) for t in (beta, alpha))
        out = naive.deltanet.rule(q, k, v, beta[0], alpha[0])
        if not self.causal:
            flipped = (t.flip(2) for t in (q, k, v, beta[1], alpha[1]))
            out = out + naive.deltanet.rule(*flipped).flip(2)
        out = out / q.shape[-1] ** 0.5
        out = out / (out.square().mean(-1, keepdim=True) + EPS).sqrt() * m.norm
        out = rearrange(out, "b h n d -> b n (h d)")
        return m.out(out if m.gate is None else out * silu(m.gate(x)))


@pytest.mark.parametrize("causal", [False, True], ids=["both", "causal"])
@pytest.mark.parametrize(
    "options", [{}, {"gate": True}, {"gate": True, "conv": None}, {"conv": 7}],
    ids=["ungated", "gated", "gated-without-conv", "conv7"],
)  # fmt: skip
@given(length=st.integers(1, 100))
@examples(10)
def test_equals_its_naive_form(causal, options, length):
    module = layer("deltanet", 2, 8, causal=causal, **options)
    x = tokens(2, length, 16)
    for mask in (None, holes(2, length)):
        expected = gradients(Naive(module, causal), x, mask)
        assert_close(gradients(module, x, mask), expected)


def drawn(length: int, directions: int = 1, size: int = 8) -> tuple[Tensor, ...]:
    """q, k, v, beta and log alpha of two examples and three heads."""
    q, k, v = tokens(2, length, 9 * size).unflatten(2, (3, 3, size)).permute(2, 0, 3, 1, 4)
    rows = tokens(2 * directions, length, 6).unflatten(0, (directions, 2)).transpose(2, 3)
    return q, normalize(k, dim=-1), v, rows[:, :, :3].sigmoid(), -rows[:, :, 3:].exp()


@pytest.mark.parametrize("gate", [False, True], ids=["ungated", "gated"])
def test_the_chunk_changes_nothing(gate):
    q, k, v, beta, decay = drawn(100, directions=2)
    decay = decay if gate else None
    expected = delta_rule(q, k, v, beta, decay, chunk=1)
    for chunk in (3, 16, 64, 100, 500):
        assert_close(delta_rule(q, k, v, beta, decay, chunk=chunk), expected)


def test_decay_1_is_the_delta_rule():
    q, k, v, beta, decay = drawn(90, directions=2)
    assert_close(delta_rule(q, k, v, beta, 0 * decay), delta_rule(q, k, v, beta))


@pytest.mark.parametrize("chunk", [4, 64])
def test_what_is_written_under_orthonormal_keys_is_read_exactly(chunk):
    """16 values under 16 keys, 8 of them written over, then all read."""
    keys = torch.linalg.qr(tokens(1, 16, 16)[0])[0]
    values, later = tokens(1, 24, 5)[0].split([16, 8])
    k = torch.cat([keys, keys[:8], keys])[None, None]
    v = torch.cat([values, later, torch.ones(16, 5)])[None, None]
    beta = torch.tensor([1.0] * 24 + [0.0] * 16, dtype=k.dtype)[None, None, None]
    read = delta_rule(k, k, v, beta, chunk=chunk)[0, 0]
    assert_close(read[:24], v[0, 0, :24])
    assert_close(read[24:], torch.cat([later, values[8:]]))


def test_beta_0_writes_nothing():
    q, k, v, beta, decay = drawn(80, directions=2)
    assert_close(delta_rule(q, k, v, 0 * beta, decay), torch.zeros_like(v))
    silent = torch.arange(80) % 3 == 1
    beta, decay = (t.masked_fill(silent, 0) for t in (beta, decay))
    without = delta_rule(
        *(t[:, :, ~silent] for t in (q, k, v)), *(t[..., ~silent] for t in (beta, decay))
    )
    assert_close(delta_rule(q, k, v, beta, decay)[:, :, ~silent], without)


def test_decay_0_forgets_all():
    """What follows it is as if the sequence began there."""
    q, k, v, beta, decay = drawn(100)
    decay[..., 40] = -1e4
    after = (t[:, :, 40:] for t in (q, k, v))
    expected = delta_rule(*after, beta[..., 40:], decay[..., 40:])
    assert_close(delta_rule(q, k, v, beta, decay)[:, :, 40:], expected)


def test_a_small_decay_is_exact_beside_a_large_one():
    """Differences of cumulative sums have an error of 1e-3 here."""
    log = -torch.rand(3, 64, 1, generator=torch.Generator().manual_seed(0)) * 1e-3
    log[:, 5] = -2e4
    assert_close(decays(log, False), decays(log.double(), False).float(), rtol=1e-5, atol=0)
    assert_close(decays(log, True), decays(log.flip(1), False).flip(1, 2), rtol=1e-6, atol=0)


def test_one_key_for_all_tokens():
    """The system is as ill-conditioned as can be: its matrix is all ones below the diagonal."""
    q, k, v, beta, _ = (t.float() for t in drawn(1000))
    k = k[:, :, :1].expand_as(k)
    read = delta_rule(k, k, v, torch.ones_like(beta), chunk=64)
    assert_close(read, v, rtol=1e-4, atol=1e-4)  # what was written last


@pytest.mark.parametrize("decay", [-1e4, -1e-8], ids=["alpha-0", "alpha-1"])
@pytest.mark.parametrize("write", [1e-8, 1 - 1e-7], ids=["beta-0", "beta-1"])
def test_float32_is_near_float64_at_the_extremes(decay, write):
    q, k, v, beta, log = drawn(700, directions=2)
    given = q, k, v, torch.full_like(beta, write), torch.full_like(log, decay)
    single = [t.float().requires_grad_() for t in given]
    double = [t.requires_grad_() for t in given]
    outs = [delta_rule(*each) for each in (single, double)]
    grads = [
        torch.autograd.grad(o.square().sum(), g)
        for o, g in zip(outs, (single, double), strict=True)
    ]
    scale = outs[1].abs().max().item()
    assert_close(outs[0].double(), outs[1], rtol=1e-4, atol=1e-4 * scale)
    for a, b in zip(*grads, strict=True):
        assert_close(a.double(), b, rtol=1e-3, atol=1e-3 * b.abs().max().item())


@pytest.mark.slow
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shift", [-9.0, 0.0, 9.0])
def test_long_sequences_stay_finite(half, shift):
    """Decays near 1, as they start, and near 0."""
    torch.manual_seed(0)
    module = attention.build("deltanet", 32, 2, 16_384, gate=True)
    with torch.no_grad():
        module.dt_bias += shift
    x = torch.randn(1, 16_384, 32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = module(x)
    grads = torch.autograd.grad(out.float().square().sum(), [x, *module.parameters()])
    assert all(t.isfinite().all() for t in (out, *grads))
