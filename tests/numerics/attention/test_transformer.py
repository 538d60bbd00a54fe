"""Full attention: two kernels, torch's own layer, dropout."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lra.attention import transformer
from oracles import gradients, holes, layer, shape_id, tokens

SHAPES = [(1, 1, 1, 4), (2, 7, 2, 4), (1, 50, 4, 8), (2, 100, 4, 8), (3, 129, 2, 16)]


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
def test_fused_and_materialised_agree(shape, causal):
    batch, length, heads, size = shape
    x = tokens(batch, length, heads * size)
    for mask in (None, holes(batch, length)):
        fused, materialised = (
            gradients(layer("transformer", heads, size, kernel=kernel, causal=causal), x, mask)
            for kernel in ("fused", "materialised")
        )
        assert_close(fused, materialised)


def test_rows_without_any_real_token_stay_finite_when_materialised():
    x, mask = tokens(2, 70, 16), holes(2, 70)
    module = layer("transformer", 2, 8, kernel="materialised")
    assert module(x, mask).isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(module, x, mask)[1])


def test_equals_torchs_multihead_attention():
    ours = layer("transformer", 4, 8)
    theirs = torch.nn.MultiheadAttention(32, 4, bias=False, batch_first=True).double().eval()
    with torch.no_grad():
        packed = [ours.query.weight, ours.key.weight, ours.value.weight]
        theirs.in_proj_weight.copy_(torch.cat(packed))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x = tokens(2, 50, 32)
    mask = torch.arange(50).expand(2, -1) < 40
    assert_close(ours(x, mask), theirs(x, x, x, key_padding_mask=~mask)[0])


def test_materialised_dropout_keeps_the_mean():
    q = k = v = torch.ones(1, 1, 64, 4)
    torch.manual_seed(0)
    outs = [transformer.materialised(q, k, v, None, 0.5).mean() for _ in range(200)]
    assert abs(torch.stack(outs).mean() - 1) < 0.02
