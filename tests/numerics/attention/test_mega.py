"""Mega against its recurrences and its N x N form, and the limits of its parts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import silu
from torch.testing import assert_close

import naive.mega
from lra.attention import mega
from oracles import gradients, holes, layer, tokens
from tiny import examples, slow

CAUSAL = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
FUNCTION = pytest.mark.parametrize("function", ["softmax", "laplace"])


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        return naive.mega.attention(self.inner, x, mask)


def spread(module: nn.Module) -> nn.Module:
    """Its small weights made large, so that nothing hides in a tolerance."""
    with torch.no_grad():
        for name in ("scale", "shift", "bias", "gates.weight", "gates.bias", "ema.alpha"):
            parameter = module.get_parameter(name)
            parameter.copy_(tokens(1, parameter.numel(), 1).view_as(parameter))
    return module


@pytest.mark.parametrize(
    "options",
    [{}, {"chunk": 8}, {"chunk": 8, "truncation": 5}, {"truncation": 1, "z_dim": 6, "ema_dim": 3}],
    ids=["plain", "chunks", "truncated-chunks", "sizes"],
)
@pytest.mark.parametrize("relative", ["simple", "rotary"])
@FUNCTION
@CAUSAL
def test_equals_its_naive_form(causal, function, relative, options):
    given = {"causal": causal, "function": function, "relative": relative, **options}
    for length in (1, 16, 21):
        module = spread(layer("mega", 2, 4, max_len=24, qkv_dim=10, **given))
        x = tokens(2, length, 8)
        for mask in (None, holes(2, length)):
            expected = gradients(Naive(module), x, mask)
            assert_close(gradients(module, x, mask), expected)


@pytest.mark.parametrize("truncation", [None, 7, 100])
@CAUSAL
@given(length=st.integers(1, 80))
@examples(15)
def test_the_moving_average_is_the_recurrence(causal, truncation, length):
    torch.manual_seed(0)
    ema = mega.EMA(6, 4, truncation, causal).double()
    x = tokens(2, length, 6)
    assert_close(ema(x, None), naive.mega.both_averages(ema, x))


@pytest.mark.parametrize("lags", [1, 2, 50, 16_384])
def test_kernels_from_no_memory_to_no_decay(lags):
    """All pairs of extreme parameters, in float32 against float64's powers."""
    ends = torch.tensor([-40.0, -12.0, -9.0, -3.0, 0.0, 3.0, 12.0, 40.0])
    ema = mega.EMA(64, 1, None, True)
    with torch.no_grad():
        ema.delta.copy_(ends.repeat_interleave(8)[:, None])
        ema.alpha.copy_(ends.repeat(8)[:, None])
        ema.beta.fill_(1.0)
        ema.gamma.copy_(1 / ema.delta.sigmoid())
    kernels = ema.kernels(lags)
    kernels.sum().backward()
    assert all(p.grad.isfinite().all() for p in (ema.delta, ema.alpha, ema.beta, ema.gamma))
    damped = ema.delta.double().sigmoid() * ema.alpha.double().sigmoid()
    powers = torch.exp(torch.log1p(-damped) * torch.arange(lags)).nan_to_num(1.0)
    assert_close(kernels.double(), powers, rtol=1e-5, atol=1e-6)


def test_a_moving_average_without_memory_and_without_decay():
    x, ema = tokens(2, 30, 4), mega.EMA(4, 1, None, True).double()
    with torch.no_grad():
        for p in (ema.beta, ema.gamma, ema.delta, ema.alpha, ema.omega):
            p.fill_({id(ema.omega): 0.0, id(ema.beta): 2.0}.get(id(p), 50.0))
        ema.gamma.fill_(3.0)
        assert_close(ema(x, None), silu(6 * x))  # the newest token alone
        ema.alpha.fill_(-50.0)
        assert_close(ema(x, None), silu(6 * x.cumsum(1)))


@FUNCTION
def test_one_chunk_is_the_full_form(function):
    full = layer("mega", 2, 8, max_len=64, function=function)
    chunked = layer("mega", 2, 8, max_len=64, function=function, chunk=64)
    chunked.load_state_dict(full.state_dict())
    for length in (1, 40, 64):
        x, mask = tokens(2, length, 16), holes(2, length)
        assert_close(gradients(chunked, x), gradients(full, x))
        assert_close(gradients(chunked, x, mask), gradients(full, x, mask))


def test_chunks_pass_on_tokens_by_the_moving_average_alone():
    module, x = spread(layer("mega", 2, 8, chunk=16, truncation=1)), tokens(1, 48, 16)
    changed = torch.cat([x[:, :16], x[:, 16:] + 1], dim=1)
    assert_close(module(changed)[:, :16], module(x)[:, :16])
    module.ema.truncation = 2
    differs = (module(changed)[:, :16] - module(x)[:, :16]).abs().amax(-1)[0] > 1e-9
    assert differs.all()  # the chunk's last token sees the next one, and all see that


def test_laplace_meets_squared_relu():
    """Equal in value and in slope at sqrt(1 / 2), as the paper derives its mean and deviation."""
    x = torch.tensor(0.5**0.5, dtype=torch.float64, requires_grad=True)
    for function in (mega.laplace, lambda x: x.relu() ** 2):
        value = function(x)
        (slope,) = torch.autograd.grad(value, x)
        assert_close([value.item(), slope.item()], [0.5, 2**0.5])
    ends = torch.tensor([-40.0, 40.0])
    assert_close(mega.laplace(ends), torch.tensor([0.0, 1.0]))
    normal = torch.distributions.Normal(0.5**0.5, (4 * math.pi) ** -0.5)
    points = torch.linspace(-2, 3, 50)
    assert_close(mega.laplace(points), normal.cdf(points))


def set_gate(module, which: int, bias: float) -> None:
    """Reset (0) or update (1) gate before its activation, the same for every token."""
    sizes = [module.value.out_features, *[module.query.in_features] * 2]
    with torch.no_grad():
        module.gates.weight.split(sizes)[which].zero_()
        module.gates.bias.split(sizes)[which].fill_(bias)


def test_gates_at_their_limits():
    x, module = tokens(2, 20, 16), spread(layer("mega", 2, 8))
    out, grads = gradients(module, x)
    names = ["x", *(name for name, _ in module.named_parameters())]
    set_gate(module, 0, 0.0)
    closed, grads = gradients(module, x)
    idle = {name for name, grad in zip(names, grads, strict=True) if not grad.any()}
    assert idle == {"scale", "shift", "bias", "value.weight", "out.weight", "query.weight"}
    assert not torch.allclose(out, closed)
    set_gate(module, 1, 60.0)
    h = silu(module.gates(module.ema(x, None))[..., -16:])
    assert_close(module(x), h - x)
    set_gate(module, 1, -800.0)
    assert_close(module(x), torch.zeros_like(x))  # the encoder's x goes by unchanged


def test_there_are_as_many_distances_as_max_len():
    module = layer("mega", 2, 8, max_len=20)
    module(tokens(1, 20, 16))
    with pytest.raises(ValueError, match=r"options\.relative: 'simple' has 20 distances, not 21"):
        module(tokens(1, 21, 16))
    with pytest.raises(ValueError, match=r"options\.z_dim: 5 is odd, and 'rotary' turns pairs"):
        layer("mega", 2, 8, relative="rotary", z_dim=5)
    layer("mega", 2, 8, max_len=20, relative="rotary")(tokens(1, 21, 16))
    layer("mega", 2, 8, max_len=20, chunk=10)(tokens(1, 21, 16))


@pytest.mark.parametrize("function", ["softmax", "laplace"])
@pytest.mark.parametrize("length", [2000, *slow([16_384])])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_long_sequences_stay_finite(length, half, function):
    module = layer("mega", 2, 8, chunk=256, truncation=None, function=function).float()
    with torch.no_grad():
        module.ema.delta[:, ::2] -= 12  # hardly any decay
        module.ema.delta[:, 1::4] += 12
        module.ema.alpha[:, 1::4] += 12  # and none left
    x = tokens(1, length, 16).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out, grads = gradients(module, x)
    assert all(t.isfinite().all() for t in (out, *grads))
    assert all(grad.any() for grad in grads)
