"""Transformer-XL's mathematics: recurrence, stopped gradients, relative positions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import linear
from torch.testing import assert_close

import naive.xl
from lra.attention.shared import relative, segments
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, mask=None):
        return naive.xl.attention(self.inner, x, mask)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "holes"])
@given(length=st.integers(1, 40), segment=st.integers(1, 12), memory=st.integers(1, 3))
@examples(25)
def test_xl_equals_its_naive_form(causal, masked, length, segment, memory):
    options = {"segment": segment, "memory_segments": memory, "causal": causal}
    module = layer("xl", 2, 4, **options)
    x, mask = tokens(2, length, 8), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_one_segment_without_positions_is_full_attention(causal):
    module = layer("xl", 2, 8, segment=64, causal=causal)
    full = layer("transformer", 2, 8, causal=causal)
    full.load_state_dict(module.state_dict(), strict=False)
    with torch.no_grad():
        for parameter in module.relative.parameters():
            parameter.zero_()
    x = tokens(2, 60, 16)
    out, (to_x, _, _, _, *to_weights) = gradients(module, x)
    expected, expected_grads = gradients(full, x)
    assert_close(out, expected)
    names = [name for name, _ in module.named_parameters()]
    grads = dict(zip(names, gradients(module, x)[1][1:], strict=True))
    assert_close(to_x, expected_grads[0])
    for (name, _), gradient in zip(full.named_parameters(), expected_grads[1:], strict=True):
        assert_close(grads[name], gradient)


@pytest.mark.parametrize("memory", [1, 2])
def test_memory_passes_gradients_to_weights_only(memory):
    module = layer("xl", 2, 8, segment=10, memory_segments=memory)
    x = tokens(1, 40, 16).requires_grad_()
    own = torch.arange(40) // 10 == 2
    module(x)[:, own].sum().backward()
    assert x.grad[:, own].abs().min() > 0
    assert x.grad[:, ~own].abs().max() == 0
    # with memory hidden, the same outputs' gradient with respect to the weights is another
    with_memory = module.key.weight.grad.clone()
    module.zero_grad()
    module(x, own[None])[:, own].sum().backward()
    assert not torch.allclose(with_memory, module.key.weight.grad)


@pytest.mark.parametrize("memory", [1, 2])
def test_a_segment_sees_its_memory_and_nothing_else(memory):
    module = layer("xl", 2, 8, segment=10, memory_segments=memory)
    x = tokens(1, 50, 16)
    for seen in range(5):
        changed = x.clone()
        changed[:, seen * 10 : seen * 10 + 10] += 1
        differs = (module(changed) - module(x)).abs().amax(dim=(0, 2)) > 1e-9
        for segment in range(5):
            expected = segment - memory <= seen <= segment
            assert (differs[segment * 10 : segment * 10 + 10] == expected).all()


def test_scores_depend_on_distance_only():
    """Equal tokens at other positions: what segment 1 gives, segment 2 gives again."""
    module = layer("xl", 2, 8, segment=10)
    x = tokens(1, 10, 16).repeat(1, 3, 1)
    out = module(x)
    assert_close(out[:, 10:20], out[:, 20:])
    assert not torch.allclose(out[:, :10], out[:, 10:20])


def test_distances_have_a_sign():
    module = layer("xl", 2, 8)
    x = tokens(1, 30, 16)
    assert not torch.allclose(module(x.flip(1)).flip(1), module(x))


@pytest.mark.parametrize("biased", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "input-only"])
def test_one_product_has_the_gradients_of_two(own, biased):
    x, weight = tokens(2, 5, 4).requires_grad_(), tokens(1, 3, 4)[0].requires_grad_()
    bias = tokens(1, 1, 3)[0, 0].requires_grad_() if biased else None
    variables = [x, weight, *([bias] if biased else [])]
    a, b = tokens(2, 5, 3), tokens(2, 6, 3)[:, :5]

    def loss(first, second):
        return (first.sin() * a).sum() + (second.sin() * b).sum()

    shared = loss(*segments.Shared.apply(x, weight, bias, own))
    first = (t if own or t is None else t.detach() for t in (weight, bias))
    plain = loss(linear(x, *first), linear(x.detach(), weight, bias))
    assert_close(shared, plain)
    assert_close(torch.autograd.grad(shared, variables), torch.autograd.grad(plain, variables))


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("keys", [1, 5, 9])
def test_shifted_aligns_distances(length, keys):
    if keys < length:
        pytest.skip("a segment sees itself")
    columns = torch.arange(keys - 1, -length - 1, -1).expand(2, length, -1).double()
    i = torch.arange(keys - length, keys)[:, None]
    assert_close(relative.shifted(columns)[1], (i - torch.arange(keys)).double())
    x = tokens(2, length * (length + keys), 1).view(2, length, -1).requires_grad_()
    assert torch.autograd.gradcheck(relative.shifted, x)


@pytest.mark.parametrize("name", ["xl", "compressive"])
@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_tiles_of_any_size_give_the_same(name, at_once, monkeypatch):
    """Segments see earlier tiles' keys, and give them gradients."""
    monkeypatch.setattr(relative, "SEGMENTS", at_once)
    monkeypatch.setattr(relative, "TILES", 100)
    module = layer(name, 2, 4, segment=4).train()
    x, mask = tokens(2, 30, 8), holes(2, 30)
    by_tiles = gradients(module, x, mask)
    module.by_head = lambda _: False  # as on a GPU
    assert_close(by_tiles, gradients(module, x, mask))
