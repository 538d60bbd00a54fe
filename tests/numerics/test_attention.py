"""The contract of every mechanism, and what pins each one's mathematics.

`lra.attention.names()` is asked for the mechanisms, so a new file is tested as soon as it exists.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from lra import attention
from lra.attention import linear, local, transformer

NAMES = attention.names()
CAUSAL = [name for name in NAMES if attention.info(name).causal]
SHAPES = [(1, 1, 1, 4), (2, 7, 2, 4), (1, 50, 4, 8), (2, 100, 4, 8), (3, 129, 2, 16)]


def shape_id(shape):
    return "B{}-N{}-H{}-D{}".format(*shape)


def layer(name, heads, size, max_len=512, **options):
    """A mechanism in float64 with weights of a fixed seed, dropout off."""
    torch.manual_seed(0)
    return attention.build(name, heads * size, heads, max_len, **options).double().eval()


def tokens(batch, length, width):
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, width, dtype=torch.float64, generator=generator)


def gradients(module, x, mask=None):
    """Of a sum that weighs every output differently, with respect to x and to all weights."""
    x = x.clone().requires_grad_()
    out = module(x, mask)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    loss = (out * weights).sum()
    return out.detach(), torch.autograd.grad(loss, [x, *module.parameters()])


@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
@pytest.mark.parametrize("name", NAMES)
def test_shape_and_finite_gradients(name, shape):
    batch, length, heads, size = shape
    out, grads = gradients(layer(name, heads, size), tokens(batch, length, heads * size))
    assert out.shape == (batch, length, heads * size)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)


@pytest.mark.parametrize("name", NAMES)
def test_a_full_mask_is_no_mask(name):
    x = tokens(2, 77, 16)
    module = layer(name, 2, 8)
    assert_close(module(x, torch.ones(2, 77, dtype=torch.bool)), module(x))


@pytest.mark.parametrize("name", NAMES)
@given(length=st.integers(1, 130), extra=st.integers(1, 130))
@settings(max_examples=25)
def test_real_tokens_do_not_depend_on_padding(name, length, extra):
    module = layer(name, 2, 8)
    x = tokens(2, length + extra, 16)
    mask = torch.arange(length + extra).expand(2, -1) < length
    mask = mask.clone()
    mask[1, length // 2] = length == 1  # one row has a hole
    padded = module(x, mask)[:, :length]
    alone = module(x[:, :length], mask[:, :length])
    assert padded.isfinite().all()
    assert_close(padded[mask[:, :length]], alone[mask[:, :length]])


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in NAMES), ("transformer", {"kernel": "materialised"})],
)
def test_rows_without_any_real_token_stay_finite(name, options):
    x, mask = tokens(2, 70, 16), torch.ones(2, 70, dtype=torch.bool)
    mask[1] = False
    out, grads = gradients(layer(name, 2, 8, **options), x, mask)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", CAUSAL)
def test_causal_outputs_do_not_see_later_tokens(name, masked):
    module = layer(name, 2, 8, causal=True)
    x, mask = tokens(2, 200, 16), None
    if masked:
        mask = torch.ones(2, 200, dtype=torch.bool)
        mask[:, 0::7] = False
        mask[:, 100:120] = False
    changed = x.clone()
    changed[:, 140:] += 1
    assert_close(module(changed, mask)[:, :140], module(x, mask)[:, :140])
    assert not torch.allclose(module(changed, mask)[:, 140:], module(x, mask)[:, 140:])


@pytest.mark.parametrize("name", NAMES)
def test_qkv_may_be_narrower_than_the_model(name):
    module = attention.build(name, 32, 4, 64, qkv_dim=16)
    assert module(torch.randn(2, 9, 32)).shape == (2, 9, 32)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_name_the_nearest_valid_one(name):
    with pytest.raises(ValueError, match="did you mean 'dropout'"):
        attention.build(name, 32, 4, 64, dropuot=0.1)


def test_unknown_mechanism_names_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        attention.build("liner", 32, 4, 64)


def test_an_option_of_the_wrong_type_is_named():
    with pytest.raises(ValueError, match="options.block_size"):
        attention.build("local", 32, 4, 64, block_size="large")
    with pytest.raises(ValueError, match="options.block_size"):
        attention.build("local", 32, 4, 64, block_size=0)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
def test_fused_and_materialised_transformers_agree(shape, causal):
    batch, length, heads, size = shape
    x = tokens(batch, length, heads * size)
    mask = torch.arange(length).expand(batch, -1) < max(1, length - 3)
    for m in (None, mask):
        fused, materialised = (
            gradients(layer("transformer", heads, size, kernel=kernel, causal=causal), x, m)
            for kernel in ("fused", "materialised")
        )
        assert_close(fused, materialised)


def test_transformer_equals_torchs_multihead_attention():
    ours = layer("transformer", 4, 8)
    theirs = torch.nn.MultiheadAttention(32, 4, bias=False, batch_first=True).double().eval()
    with torch.no_grad():
        packed = [ours.query.weight, ours.key.weight, ours.value.weight]
        theirs.in_proj_weight.copy_(torch.cat(packed))
        theirs.out_proj.weight.copy_(ours.out.weight)
    x = tokens(2, 50, 32)
    mask = torch.arange(50).expand(2, -1) < 40
    assert_close(ours(x, mask), theirs(x, x, x, key_padding_mask=~mask)[0])


@given(length=st.integers(1, 90), block=st.integers(1, 40))
@settings(max_examples=40)
def test_local_equals_one_full_attention_per_block(length, block):
    module = layer("local", 2, 8, block_size=block)
    x = tokens(2, length, 16)
    expected = module.merge(local.naive(*module.project(x), block))
    assert_close(module(x), expected)


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_local_with_one_block_is_full_attention(causal):
    x = tokens(2, 60, 16)
    one_block = layer("local", 2, 8, block_size=64, causal=causal)
    assert_close(gradients(one_block, x), gradients(layer("transformer", 2, 8, causal=causal), x))


def test_local_does_not_look_outside_its_block():
    module = layer("local", 2, 8, block_size=10)
    x = tokens(1, 40, 16).requires_grad_()
    module(x)[:, 10:20].sum().backward()
    assert x.grad[:, 10:20].abs().min() > 0
    assert x.grad[:, :10].abs().max() == x.grad[:, 20:].abs().max() == 0


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@given(length=st.integers(1, 300))
@settings(max_examples=30)
def test_linear_equals_its_naive_form(causal, length):
    module = layer("linear", 2, 8, causal=causal)
    x = tokens(2, length, 16)

    class Naive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x, mask=None):
            q, k, v = module.project(x)
            q, k = torch.nn.functional.elu(q) + 1, torch.nn.functional.elu(k) + 1
            return module.merge(linear.naive(q, k, v, causal))

    assert_close(gradients(module, x), gradients(Naive(), x))


def test_materialised_dropout_keeps_the_mean():
    q = k = v = torch.ones(1, 1, 64, 4)
    torch.manual_seed(0)
    outs = [transformer.materialised(q, k, v, None, 0.5).mean() for _ in range(200)]
    assert abs(torch.stack(outs).mean() - 1) < 0.02
