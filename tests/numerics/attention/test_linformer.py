"""Linformer against equation 7, and its limit of full attention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

import naive.linformer
from lra import attention
from oracles import gradients, holes, layer, tokens
from tiny import examples

SHARING = ["none", "headwise", "key-value", "layerwise", "layers-by-head"]


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        q, k, v = self.inner.project(x)
        if mask is not None:
            k, v = (t * mask[:, None, :, None] for t in (k, v))
        matrices = self.inner.projection[:, :, : x.shape[1]]
        shared = self.inner.sharing in ("key-value", "layerwise", "layers-by-head")
        e, f = (matrices, matrices) if shared else matrices.chunk(2)
        return self.inner.merge(naive.linformer.attention(q, k, v, e, f))


@pytest.mark.parametrize("sharing", SHARING)
@given(length=st.integers(1, 90), k=st.integers(1, 20), masked=st.booleans(), bias=st.booleans())
@examples(20)
def test_equals_its_naive_form(sharing, length, k, masked, bias):
    init = "torch" if bias else "xavier"
    module = layer("linformer", 2, 8, 90, k=k, sharing=sharing, bias=bias, init=init)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@pytest.mark.parametrize("sharing", SHARING)
def test_identity_projections_give_full_attention(sharing):
    module = layer("linformer", 2, 8, 33, k=33, sharing=sharing)
    with torch.no_grad():
        module.projection.copy_(torch.eye(33))
    x = tokens(2, 33, 16)
    assert_close(module(x), module.merge(scaled_dot_product_attention(*module.project(x))))


@pytest.mark.parametrize(("sharing", "matrices"), list(zip(SHARING, [16, 2, 1, 1, 8], strict=True)))
def test_what_is_shared_is_one_parameter(sharing, matrices):
    first, second = (layer("linformer", 8, 4, 100, sharing=sharing) for _ in range(2))
    second.tie(first)
    assert first.projection.shape == (matrices, 16, 100)
    assert (second.projection is first.projection) == sharing.startswith("layer")


def test_later_implementations_projection():
    """mlpen/Nystromformer: (heads, k, max_len) for all layers, keys and values, N(0, 0.02)."""
    options = {"k": 32, "sharing": "layers-by-head", "std": 0.02}
    first, second = (layer("linformer", 4, 4, 500, **options) for _ in range(2))
    second.tie(first)
    e = first.projection
    assert e.shape == (4, 32, 500)
    assert abs(e.std().item() - 0.02) < 0.0005
    assert e.abs().max() > 0.07  # of 64,000, beyond any uniform of that deviation
    x, mask = tokens(2, 60, 16), torch.arange(60).expand(2, -1) < 50
    for module in (first, second):
        q, k, v = module.project(x)
        k, v = (torch.einsum("hkn,bhnd,n->bhkd", e[..., :60], t, mask[0].double()) for t in (k, v))
        weights = (torch.einsum("bhnd,bhkd->bhnk", q, k) / 2).softmax(-1)
        out = torch.einsum("bhnk,bhkd->bhnd", weights, v)
        assert_close(module(x, mask)[:, :50], module.merge(out)[:, :50])


def test_parameter_count_is_the_official_one():
    """9,076,810 of ListOps are those of the transformer and 4 layers of (2001, 16)."""
    with torch.device("meta"):
        ours = attention.build("linformer", 512, 8, 2001)
        base = attention.build("transformer", 512, 8, 2001)
    extra = sum(p.numel() for p in ours.parameters()) - sum(p.numel() for p in base.parameters())
    assert 4 * extra == 9_076_810 - 8_948_746
