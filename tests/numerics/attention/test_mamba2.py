"""Mamba-2 and Hydra against a loop over tokens, against the matrix, and against retention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.mamba2
import naive.retention
from lra import attention
from lra.attention.shared.convolution import ConvolveSilu
from oracles import gradients, holes, layer, tokens
from tiny import examples

WAYS = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])


def fast(causal: bool, **options) -> nn.Module:
    """With steps of time so long that decays matter within a few tokens."""
    module = layer("mamba2", 2, 8, causal=causal, **{"state": 4, **options})
    with torch.no_grad():
        module.dt_bias.add_(4)
        module.norm.mul_(torch.linspace(0.5, 2, len(module.norm)))
        module.skip.mul_(torch.tensor([0.5, 2.0]))
    return module


class Naive(nn.Module):
    def __init__(self, module: nn.Module, causal: bool) -> None:
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        return naive.mamba2.attention(self.inner, x, mask, self.causal)


@WAYS
@given(length=st.integers(1, 150), masked=st.booleans(), expand=st.integers(1, 2))
@examples(20)
def test_equals_a_loop_over_tokens(causal, length, masked, expand):
    module = fast(causal, expand=expand)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module, causal), x, mask))


@pytest.mark.parametrize("length", [1, 2, 3, 30, 80])
def test_both_directions_are_hydras_quasiseparable_matrix(length):
    module, x = fast(causal=False), tokens(1, length, 16)
    v, b, c, dt, a = naive.mamba2.inputs(module, x, None, causal=False)
    own = module.diagonal(v.flatten(2))
    y = module.mix(v, b.flatten(2), c.flatten(2), dt, own)
    for head in range(2):
        matrix = naive.mamba2.quasiseparable(b[0], c[0], dt[0, :, :, head], a[head], own[head, 0])
        assert_close(y[0, :, head], matrix @ v[0, :, head])


def test_with_constant_steps_it_is_retention():
    """Of its decays, where nothing rotates: retention's state is then dt times smaller."""
    module, n = layer("mamba2", 2, 8, causal=True, state=4), 150
    v, b, c, dt, a = naive.mamba2.inputs(module, tokens(1, n, 16), None, causal=True)
    step = 0.1
    with torch.no_grad():
        module.a_log.copy_((-naive.retention.gammas(2).log() / step).log())
    y = module.mix(v, b[:, :, 0], c[:, :, 0], torch.full_like(dt, step), torch.zeros(2, 1, 1))
    weights = naive.retention.fixed(naive.retention.gammas(2), n, causal=True)
    scores = (c[:, :, 0] @ b[:, :, 0].mT)[:, None] * weights
    assert_close(y, step * (scores @ v.transpose(1, 2)).transpose(1, 2))


def test_a_full_token_sees_its_neighbours_through_the_convolutions_and_all_others_by_the_state():
    x = tokens(1, 40, 16).requires_grad_()
    module = fast(causal=False)
    for part in (module.key, module.query):  # without B and C only a token's own x is left
        nn.init.zeros_(part.weight)
    for part in (module.key_conv, module.query_conv):
        nn.init.zeros_(part.bias)
    module(x)[:, 20].square().sum().backward()
    assert set(x.grad[0].abs().sum(1).nonzero()[:, 0].tolist()) == set(range(17, 24))


def test_steps_and_decays_begin_where_the_papers_do():
    torch.manual_seed(0)
    module = attention.build("mamba2", 1024, 1024, 64)
    steps = nn.functional.softplus(module.dt_bias).log()
    assert steps.exp().min() > 0.99e-3 and steps.exp().max() < 0.101
    middle = (torch.tensor(1e-3).log() + torch.tensor(0.1).log()) / 2
    assert abs(steps.mean() - middle) < 0.15
    assert module.a_log.exp().min() >= 1 and module.a_log.exp().max() <= 16
    assert abs(module.a_log.exp().mean() - 8.5) < 0.5


@WAYS
@pytest.mark.parametrize("bias", [-30.0, 30.0], ids=["short steps", "long steps"])
@pytest.mark.parametrize("a_log", [-30.0, 8.0], ids=["no decay", "all decays"])
def test_extremes_stay_finite(causal, bias, a_log):
    module = layer("mamba2", 2, 8, causal=causal, state=4).float()
    with torch.no_grad():
        module.dt_bias.fill_(bias)
        module.a_log.fill_(a_log)
    out, grads = gradients(module, tokens(2, 300, 16).float())
    assert out.isfinite().all() and all(grad.isfinite().all() for grad in grads)


@pytest.mark.slow
@WAYS
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_16384_tokens(causal, half):
    torch.manual_seed(0)
    module = attention.build("mamba2", 32, 2, 16384, causal=causal, state=16)
    x = torch.randn(1, 16384, 32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = module(x)
    grads = torch.autograd.grad(out.float().square().sum(), [x, *module.parameters()])
    assert out.isfinite().all() and all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize(("width", "before"), [(7, 3), (4, 3), (1, 0)])
@pytest.mark.parametrize("length", [1, 2, 5, 1024])
@pytest.mark.parametrize("keep", [False, True], ids=["again", "kept"])
def test_depthwise_convolution_in_float32(width, before, length, keep):
    """Whose kernel's gradient torch's conv2d has wrong (nystrom.convolve)."""
    x, kernel, bias = tokens(2, length, 24), tokens(1, width, 24)[0], tokens(1, 1, 24)[0, 0]
    given = [t.requires_grad_() for t in (x, kernel, bias)]
    spread = nn.functional.pad(x, (0, 0, before, width - 1 - before))
    expected = nn.functional.silu(
        sum(spread[:, i : i + length] * kernel[i] for i in range(width)) + bias
    )
    found = ConvolveSilu.apply(*(t.float() for t in given), before, keep)
    weights = tokens(2, length, 24).flip(2)
    results = [
        (out, *torch.autograd.grad((out * weights).sum(), given)) for out in (found, expected)
    ]
    for ours, exact in zip(*results, strict=True):
        assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5 * exact.abs().max().item())
