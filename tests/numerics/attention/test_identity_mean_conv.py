"""The baselines `identity`, `mean` and `conv`, each against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.conv
import naive.identity
import naive.mean
from lra import attention
from oracles import gradients, holes, layer, tokens
from tiny import examples

NAIVE = {
    "identity": lambda v, module, mask, causal: naive.identity.attention(v),
    "mean": lambda v, module, mask, causal: naive.mean.attention(v, mask, causal),
    "conv": lambda v, module, mask, causal: naive.conv.attention(v, module.kernel, mask, causal),
}


class Naive(nn.Module):
    """The definition between a layer's own projections."""

    def __init__(self, name: str, module: nn.Module, causal: bool) -> None:
        super().__init__()
        self.name, self.inner, self.causal = name, module, causal

    def forward(self, x, mask=None):
        v = self.inner.value(x)
        return self.inner.out(NAIVE[self.name](v, self.inner, mask, self.causal))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("name", NAIVE)
@given(length=st.integers(1, 60), masked=st.booleans())
@examples(30)
def test_equals_the_definition(name, causal, length, masked):
    module = layer(name, 2, 8, causal=causal)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(name, module, causal), x, mask))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@given(length=st.integers(1, 30), width=st.integers(1, 9))
@examples(30)
def test_a_kernel_of_any_width(causal, length, width):
    module = layer("conv", 2, 8, width=width, causal=causal)
    x = tokens(2, length, 16)
    assert_close(gradients(module, x), gradients(Naive("conv", module, causal), x))


@pytest.mark.parametrize(
    ("causal", "seen"), [(False, {18, 19, 20, 21, 22}), (True, {16, 17, 18, 19, 20})]
)
def test_conv_reads_five_tokens(causal, seen):
    x = tokens(1, 40, 16).requires_grad_()
    layer("conv", 2, 8, causal=causal)(x)[:, 20].sum().backward()
    assert set(x.grad[0].abs().sum(1).nonzero()[:, 0].tolist()) == seen


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_mean_is_full_attention_without_queries(causal):
    """Scores are then all 0."""
    full = layer("transformer", 2, 8, causal=causal)
    nn.init.zeros_(full.query.weight)
    mean = layer("mean", 2, 8, causal=causal)
    mean.load_state_dict({k: v for k, v in full.state_dict().items() if k[0] in "vo"})
    x, mask = tokens(2, 50, 16), holes(1, 50).expand(2, -1)
    assert_close(mean(x), full(x))
    assert_close(mean(x, mask)[mask], full(x, mask)[mask])


def test_their_parameters_are_those_that_they_need():
    """Two square projections, and five taps a channel."""
    sizes = {name: sum(p.numel() for p in layer(name, 2, 8).parameters()) for name in NAIVE}
    assert sizes == {"identity": 2 * 256, "mean": 2 * 256, "conv": 2 * 256 + 5 * 16}


def test_conv_starts_as_torchs_own_convolutions():
    torch.manual_seed(0)
    kernel = attention.build("conv", 512, 4, 64, width=9).kernel
    assert 0.98 / 3 < kernel.abs().max() <= 1 / 3


@pytest.mark.parametrize(
    ("name", "options", "reach"),
    [("identity", {}, 0), ("mean", {}, None), ("conv", {}, 2), ("conv", {"width": 6}, 3)],
)
def test_how_far_a_layer_mixes(name, options, reach):
    module = layer(name, 1, 4, **options)
    assert module.reach == reach
    x = tokens(1, 20, 4)
    sees = torch.autograd.functional.jacobian(lambda x: module(x).sum((0, 2)), x)[:, 0].any(-1)
    place = torch.arange(20)
    assert (place[:, None] - place).abs()[sees].max() == (19 if reach is None else reach)
