"""Image Transformer against its N x N mask, and its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.image
from oracles import gradients, holes, layer, tokens
from tiny import examples

CAUSAL = pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])


class Naive(nn.Module):
    def __init__(self, module, width, block, halo, cls=False):
        super().__init__()
        self.inner, self.geometry = module, (width, block, halo, module.causal, cls)

    def forward(self, x, mask=None):
        q, k, v = self.inner.project(x)
        return self.inner.merge(naive.image.attention(q, k, v, *self.geometry, mask))


@CAUSAL
@given(
    length=st.integers(1, 80), block=st.integers(1, 90), halo=st.integers(0, 90), mask=st.booleans()
)
@examples(40)
def test_1d_equals_its_dense_mask(causal, length, block, halo, mask):
    module = layer("image", 2, 4, causal=causal, block_size=block, halo=halo)
    x, mask = tokens(2, length, 8), holes(2, length) if mask else None
    oracle = Naive(module, length, (1, block), (0, halo))
    assert_close(gradients(module, x, mask), gradients(oracle, x, mask))


@pytest.mark.parametrize("cls", [False, True], ids=["pixels", "cls"])
@CAUSAL
@given(
    length=st.integers(1, 80),
    width=st.integers(2, 12),
    block=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    halo=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    mask=st.booleans(),
)
@examples(40)
def test_2d_equals_its_dense_mask(causal, cls, length, width, block, halo, mask):
    sizes = {"block_height": block[0], "block_width": block[1]}
    sizes |= {"halo_height": halo[0], "halo_width": halo[1], "width": width}
    module = layer("image", 2, 4, 40 * width + cls, causal=causal, shape="2d", **sizes)
    x, mask = tokens(2, length, 8), holes(2, length) if mask else None
    oracle = Naive(module, width, block, halo, cls)
    assert_close(gradients(module, x, mask), gradients(oracle, x, mask))


@CAUSAL
@pytest.mark.parametrize(
    "options",
    [
        {"block_size": 60},
        {"block_size": 7, "halo": 60},
        {"shape": "2d", "block_height": 8, "block_width": 8},
        {"shape": "2d", "block_height": 1, "block_width": 8, "halo_height": 8},
    ],
    ids=["1d-one-block", "1d-wide-halo", "2d-one-block", "2d-high-halo"],
)
def test_enough_memory_is_full_attention(options, causal):
    x, mask = tokens(3, 60, 16), holes(3, 60)
    module = layer("image", 2, 8, 64, causal=causal, **options)
    full = layer("transformer", 2, 8, causal=causal)
    for m in (None, mask):
        assert_close(gradients(module, x, m), gradients(full, x, m))


@pytest.mark.parametrize("length", [1, 20, 64, 77])
@CAUSAL
def test_1d_without_halo_is_local_attention(causal, length):
    x, mask = tokens(2, length, 16), holes(1, length).expand(2, -1)
    module = layer("image", 2, 8, causal=causal, block_size=10, halo=0)
    local = layer("local", 2, 8, causal=causal, block_size=10)
    for m in (None, mask):
        assert_close(gradients(module, x, m), gradients(local, x, m))


def seen(module, query: int, length: int) -> set[int]:
    """The tokens that the output at `query` depends on."""
    x = tokens(1, length, 16).requires_grad_()
    module(x)[0, query].sum().backward()
    return set(x.grad[0].any(dim=-1).nonzero().flatten().tolist())


def test_a_2d_block_sees_its_halo_on_the_image():
    """Of a 12 x 12 image, the block of rows and columns 4 to 7 sees rows 3 to 8, columns 2 to 9."""
    sizes = {"block_height": 4, "block_width": 4, "halo_height": 1, "halo_width": 2}
    expected = {12 * row + column for row in range(3, 9) for column in range(2, 10)}
    module = layer("image", 2, 8, 144, shape="2d", **sizes)
    assert seen(module, 12 * 5 + 6, 144) == expected
    behind_cls = layer("image", 2, 8, 145, shape="2d", **sizes)
    assert seen(behind_cls, 1 + 12 * 5 + 6, 145) == {0} | {1 + pixel for pixel in expected}
    assert seen(behind_cls, 0, 145) == set(range(145))
    causal = layer("image", 2, 8, 144, shape="2d", causal=True, **sizes)
    assert seen(causal, 12 * 5 + 6, 144) == {pixel for pixel in expected if pixel <= 12 * 5 + 6}


def test_a_1d_block_sees_its_halo_before_and_after():
    module = layer("image", 2, 8, block_size=10, halo=13)
    assert seen(module, 25, 60) == set(range(7, 43))
    causal = layer("image", 2, 8, block_size=10, halo=13, causal=True)
    assert seen(causal, 25, 60) == set(range(7, 26))
