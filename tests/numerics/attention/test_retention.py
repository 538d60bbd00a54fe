"""Retention against its N x N form; its decays and its rotation."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.retention
from lra import attention
from lra.attention.retention import rotations
from lra.attention.shared.rotation import rotate
from oracles import gradients, holes, layer, tokens
from tiny import examples

WAYS = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
DECAYS = pytest.mark.parametrize("decay", ["fixed", "learned", "gated"])


def fast(decay: str, causal: bool = False, **options) -> nn.Module:
    """With learned decays of 0.3 and 0.7, so that they matter within a few tokens."""
    module = layer("retention", 2, 8, causal=causal, decay=decay, **options)
    if decay != "fixed":
        with torch.no_grad():
            module.decay_logit.copy_(torch.tensor([0.3, 0.7]).logit())
    return module


class Naive(nn.Module):
    def __init__(self, module: nn.Module, causal: bool) -> None:
        super().__init__()
        self.inner, self.causal = module, causal

    def forward(self, x, mask=None):
        return naive.retention.attention(self.inner, x, mask, self.causal)


@WAYS
@DECAYS
@given(length=st.integers(1, 100), masked=st.booleans(), expand=st.integers(1, 2))
@examples(15)
def test_equals_its_naive_form(decay, causal, length, masked, expand):
    module = fast(decay, causal, expand=expand)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    found, expected = gradients(module, x, mask), gradients(Naive(module, causal), x, mask)
    assert_close(found, expected, rtol=1e-6, atol=1e-6)  # the norm divides by small numbers


@WAYS
def test_learned_decays_begin_at_retnets(causal):
    x = tokens(2, 200, 16)
    fixed, learned = (
        layer("retention", 2, 8, causal=causal, decay=d) for d in ("fixed", "learned")
    )
    assert_close(learned(x), fixed(x), rtol=1e-5, atol=1e-5)  # logits are float32
    assert_close(fixed.log_decay.exp(), naive.retention.gammas(2))


@WAYS
def test_a_gate_that_sees_nothing_is_a_learned_decay(causal):
    gated, learned = fast("gated", causal), fast("learned", causal)
    learned.load_state_dict({k: v for k, v in gated.state_dict().items() if "decay_gate" not in k})
    nn.init.zeros_(gated.decay_gate.weight)
    x = tokens(2, 200, 16)
    assert_close(gated(x), learned(x))


@WAYS
def test_without_decay_it_is_linear_attention_that_is_not_normalised(causal):
    module, x = fast("learned", causal), tokens(2, 150, 16)
    nn.init.constant_(module.decay_logit, 50.0)
    q, k, v = module.project(x)
    scores = naive.retention.rotated_scores(q, k)
    context = (scores.tril() if causal else scores) @ v
    normed = nn.functional.layer_norm(context, (8,), eps=1e-6).transpose(1, 2).flatten(2)
    assert_close(module(x), module.out(normed * nn.functional.silu(module.gate(x))))


def test_scores_depend_on_the_distance_alone():
    q, k = (tokens(1, 1, 8)[:, None].expand(1, 1, 60, 8) for _ in range(2))
    turns = rotations(60, 8, q.device)
    q, k = rotate(q, turns), rotate(k, turns)
    scores = (q @ k.mT)[0, 0]
    for distance in (-40, 0, 7):
        diagonal = scores.diagonal(distance)
        assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_angles_are_exact_far_from_the_start():
    turns = rotations(16384, 8, torch.device("cpu"))
    turned = rotate(torch.tensor([1.0, 0.0]).repeat(1, 1, 16384, 4), turns)
    angle = 16383 * 10_000 ** (-1 / 3)  # of the second pair
    expected = torch.tensor([math.cos(angle), math.sin(angle)])
    assert_close(turned[0, 0, -1, 2:4], expected, rtol=1e-6, atol=1e-6)


def test_heads_of_an_odd_size_are_named():
    with pytest.raises(ValueError, match="heads: .* 3 each"):
        attention.build("retention", 12, 4, 64)


@WAYS
@pytest.mark.parametrize("logit", [-80.0, 80.0], ids=["all decays", "no decay"])
def test_extremes_stay_finite(causal, logit):
    module = layer("retention", 2, 8, causal=causal, decay="gated").float()
    with torch.no_grad():
        module.decay_logit.fill_(logit)
        module.decay_gate.weight.mul_(100)
    out, grads = gradients(module, tokens(2, 300, 16).float())
    assert out.isfinite().all() and all(grad.isfinite().all() for grad in grads)


@pytest.mark.slow
@WAYS
@DECAYS
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_16384_tokens(decay, causal, half):
    torch.manual_seed(0)
    module = attention.build("retention", 32, 2, 16384, causal=causal, decay=decay)
    x = torch.randn(1, 16384, 32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = module(x)
    grads = torch.autograd.grad(out.float().square().sum(), [x, *module.parameters()])
    assert out.isfinite().all() and all(grad.isfinite().all() for grad in grads)
