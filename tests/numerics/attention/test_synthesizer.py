"""Synthesizer against its paper's formulas, one head at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.synthesizer
from lra import attention
from oracles import gradients, holes, layer, tokens
from tiny import examples

MODES = attention.option_model("synthesizer").model_fields["mode"].annotation.__args__
MIXED = [mode for mode in MODES if "+" in mode]


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        mask = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        examples = zip(x, mask, strict=True)
        return torch.stack(
            [naive.synthesizer.attention(self.inner, *example) for example in examples]
        )


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("mode", MODES)
@given(length=st.integers(1, 40), masked=st.booleans(), learnt=st.booleans())
@examples(6)
def test_equals_its_naive_form(mode, causal, length, masked, learnt):
    mixture = "learnt" if learnt else "sum"
    module = layer("synthesizer", 2, 4, 40, causal=causal, mode=mode, k=3, mixture=mixture)
    with torch.no_grad():
        for parameter in module.parameters():  # scores far enough apart to tell mistakes
            parameter.mul_(4).add_(
                0.1 * torch.linspace(-1, 1, len(parameter)).view(-1, *[1] * (parameter.ndim - 1))
            )
    x, mask = tokens(2, length, 8), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@pytest.mark.parametrize("mode", MODES)
def test_rows_without_any_real_token_stay_finite(mode):
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1] = False
    out, grads = gradients(layer("synthesizer", 2, 4, 12, mode=mode), tokens(2, 9, 8), mask)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)


@pytest.mark.parametrize("mode", MODES)
def test_every_parameter_is_used(mode):
    """Modes that compare no tokens have neither queries nor keys."""
    module = layer("synthesizer", 2, 4, 30, mode=mode)
    _, grads = gradients(module, tokens(2, 30, 8))
    assert all(gradient.any() for gradient in grads)
    assert hasattr(module, "query") == hasattr(module, "key") == ("dot" in mode)


def test_random_scores_are_the_same_for_all_inputs():
    """The outputs of values of one token each are then a row of weights."""
    module = layer("synthesizer", 1, 4, 12, mode="random")
    x = tokens(2, 12, 4)
    weights = module.matrices["random"][0][0].softmax(-1)
    assert_close(module(x), module.out(weights @ module.value(x)))


@pytest.mark.parametrize("mode", MIXED)
def test_learnt_weights_of_a_mixture_sum_to_one(mode):
    module = layer("synthesizer", 2, 4, 12, mode=mode, mixture="learnt")
    nn.init.constant_(module.mixture, 1.5)
    assert_close(sum(module.shares().values()), torch.tensor(1.0, dtype=torch.float64))
    nn.init.zeros_(module.mixture[0:1])
    first, second = module.shares().values()
    assert first < second


def test_parameter_count_is_the_official_one():
    """137,076,778 of ListOps are those of the transformer and 4 layers of (8, 2001, 2001)."""
    with torch.device("meta"):
        ours = attention.build("synthesizer", 512, 8, 2001)
        base = attention.build("transformer", 512, 8, 2001)
    extra = sum(p.numel() for p in ours.parameters()) - sum(p.numel() for p in base.parameters())
    assert 4 * extra == 137_076_778 - 8_948_746
