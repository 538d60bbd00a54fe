"""Rotary positions and ALiBi against their N x N forms, and what both mean: distances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.rotary
from lra import attention
from lra.attention import rotary
from lra.attention.shared.rotation import rotate
from oracles import gradients, holes, layer, shape_id, tokens
from tiny import examples, slow

BOTH = pytest.mark.parametrize("positions", ["rotary", "alibi"])
CAUSAL = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        q, k, v = self.inner.project(x)
        kind, causal = self.inner.positions, self.inner.causal
        return self.inner.merge(naive.rotary.attention(q, k, v, kind, mask, causal))


def same_weights(module, other):
    other.load_state_dict(module.state_dict())
    return other


@CAUSAL
@BOTH
@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 40, 4, 6), (3, 77, 2, 8)], ids=shape_id)
def test_equals_its_naive_form(shape, positions, causal):
    batch, length, heads, size = shape
    module = layer("rotary", heads, size, positions=positions, causal=causal)
    x = tokens(batch, length, heads * size)
    for mask in (None, holes(batch, length)):
        assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@CAUSAL
@BOTH
@given(length=st.integers(1, 60), shift=st.integers(1, 3000))
@examples(15)
def test_only_distances_matter(positions, causal, length, shift):
    """Tokens that lie `shift` places later, behind padding, have the same outputs."""
    shift = shift if positions == "rotary" else shift % 100
    module = layer("rotary", 2, 8, positions=positions, causal=causal)
    x = tokens(1, length, 16)
    later = torch.cat([tokens(1, shift, 16), x], dim=1)
    mask = (torch.arange(shift + length) >= shift)[None]
    assert_close(module(later, mask)[:, shift:], module(x))


@BOTH
@pytest.mark.parametrize("how", ["one-token", "no-distance"])
@CAUSAL
def test_without_distances_it_is_the_transformer(monkeypatch, positions, how, causal):
    module = layer("rotary", 4, 8, positions=positions, causal=causal)
    plain = same_weights(module, layer("transformer", 4, 8, causal=causal))
    if how == "no-distance":
        turn, slopes = rotary.rotations, torch.zeros(4, dtype=torch.float64)
        monkeypatch.setattr(rotary, "rotations", lambda n, *rest: turn(n, *rest)[:1])
        module.slopes = slopes
    x = tokens(2, 1 if how == "one-token" else 50, 32)
    assert_close(gradients(module, x), gradients(plain, x))


@BOTH
def test_order_matters_and_direction_only_to_rotary(positions):
    module, x = layer("rotary", 2, 8, positions=positions), tokens(1, 20, 16)
    order = torch.arange(20).roll(7)
    assert not torch.allclose(module(x[:, order]), module(x)[:, order], rtol=1e-2)
    same = torch.allclose(module(x.flip(1)), module(x).flip(1))
    assert same == (positions == "alibi")  # |i - j| is the same from both ends


def test_slopes_are_those_of_the_paper():
    assert rotary.slopes(8) == [2.0**-h for h in range(1, 9)]  # section 3
    assert_close(rotary.slopes(16), [2 ** (-h / 2) for h in range(1, 17)])
    # of the authors' code (fairseq_mod, get_slopes)
    assert rotary.slopes(3) == [2**-4, 2**-8, 2**-2]
    assert rotary.slopes(6) == [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]


@pytest.mark.parametrize("start", [0, 1000, 16_000])
def test_far_positions_lose_no_distance_in_float32(start):
    q, k = tokens(1, 2, 64)[0].float()
    turns = rotary.rotations(start + 300, 64, torch.device("cpu"))[start:]
    turned = [rotate(t.expand(300, -1), turns) for t in (q, k)]
    exact = rotary.rotations(300, 64, torch.device("cpu"))
    scores = rotate(q[None].double(), exact[:1]) @ rotate(k.double(), exact).mT
    assert_close((turned[0][:1] @ turned[1].mT).double(), scores, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("positions", "length"), [("rotary", 2000), ("alibi", 2000), *slow([("rotary", 16_384)])]
)
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_long_sequences_stay_finite(positions, length, half):
    module = layer("rotary", 1, 16, positions=positions).float()
    x = tokens(1, length, 16).float()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out, grads = gradients(module, x)
    assert all(t.isfinite().all() for t in (out, *grads))
    assert len(grads) == 5 and all(grad.any() for grad in grads)


def test_an_odd_head_has_no_pairs():
    with pytest.raises(ValueError, match=r"options\.positions: 'rotary' .* a head's 5 are odd"):
        attention.build("rotary", 10, 2, 64)
    attention.build("rotary", 10, 2, 64, positions="alibi")
