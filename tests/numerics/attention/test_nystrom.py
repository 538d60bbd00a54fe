"""Nystromformer against equation 13 for one head of one example, and its limits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, scaled_dot_product_attention
from torch.testing import assert_close

import naive.nystrom
from lra import attention
from lra.attention import nystrom
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        inner = self.inner
        mask = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        q, k, v = inner.project(x)
        out = torch.zeros_like(v)
        for b in mask.any(1).nonzero()[:, 0]:
            for h in range(inner.heads):
                head = (t[b, h] for t in (q, k, v))
                out[b, h] = naive.nystrom.attention(
                    *head, mask[b], inner.landmarks, inner.iterations
                )
        if inner.conv is not None:
            v = v * mask[:, None, :, None]
            middle = inner.conv.shape[1] // 2
            kernel = inner.conv[:, None, :, None]
            out = out + conv2d(v, kernel, padding=(middle, 0), groups=inner.heads)
        return inner.merge(out)


@given(
    length=st.integers(1, 150),
    landmarks=st.integers(1, 40),
    conv=st.sampled_from([None, 1, 5, 33, 201]),
    masked=st.booleans(),
)
@example(length=60, landmarks=12, conv=None, masked=False)
@examples(40)
def test_equals_its_naive_form(length, landmarks, conv, masked):
    module = layer("nystrom", 2, 8, landmarks=landmarks, conv=conv)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_as_many_landmarks_as_tokens_give_full_attention(masked):
    module = layer("nystrom", 2, 8, landmarks=40, iterations=40)
    x, mask = tokens(2, 40, 16), holes(1, 40).expand(2, -1) if masked else None
    allowed = None if mask is None else mask[:, None, None, :]
    full = module.merge(scaled_dot_product_attention(*module.project(x), allowed))
    real = slice(None) if mask is None else mask
    assert_close(module(x, mask)[real], full[real], rtol=0, atol=1e-8)


def test_the_iteration_converges_to_the_pseudo_inverse():
    a = tokens(3, 20, 20).softmax(-1)
    assert_close(nystrom.pseudo_inverse(a, 30), torch.linalg.pinv(a))
    errors = [(a @ nystrom.pseudo_inverse(a, n) @ a - a).norm() for n in range(0, 12, 2)]
    assert all(later < earlier for earlier, later in zip(errors, errors[1:], strict=False))


@pytest.mark.parametrize("iterations", [0, 1, 6, 14])
def test_the_iteration_has_its_own_gradients(iterations):
    scores = tokens(2, 5, 5).requires_grad_()
    weights = tokens(2, 5, 5)
    fast, by_definition = (
        torch.autograd.grad((inverse(scores.softmax(-1), iterations) * weights).sum(), scores)[0]
        for inverse in (nystrom.pseudo_inverse, torch.vmap(naive.nystrom.pseudo_inverse, (0, None)))
    )
    assert_close(fast, by_definition)


def test_rounding_errors_of_many_iterations_do_not_grow():
    scores, weights = tokens(4, 64, 64), tokens(4, 64, 64)
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = scores.to(dtype).requires_grad_()
        inverse = nystrom.pseudo_inverse(leaf.softmax(-1), 20)
        gradient = torch.autograd.grad((inverse * weights).sum(), leaf)[0]
        results.append((inverse.double(), gradient.double()))
    for rough, exact in zip(*results, strict=True):
        assert (rough - exact).norm() < 1e-4 * exact.norm()


def test_unused_landmarks_leave_the_others_alone():
    """A matrix with an identity block has the pseudo-inverse of its other block, at any step."""
    q, k = (tokens(2, 6 + extra, 8)[None] for extra in (0, 1))
    used = torch.arange(6)[None] < 4
    padded = nystrom.weights(q, k[:, :, :6], used)
    alone = nystrom.weights(q[:, :, :4], k[:, :, :4], used[:, :4])
    steps = [nystrom.pseudo_inverse(a, 3) for a in (padded, alone)]
    assert_close(steps[0][..., :4, :4], steps[1])
    assert not steps[0][..., :4, 4:].any()


def test_segments_are_cut_among_real_tokens():
    x = torch.arange(10.0).view(1, 10, 1)
    mask = torch.tensor([[1, 1, 0, 0, 1, 0, 1, 1, 0, 0]], dtype=torch.bool)
    means, twice, used = nystrom.segment_means(x, 2 * x, mask, 3)
    assert means[0, :, 0].tolist() == [0.5, 5.0, 7.0]
    assert twice.equal(2 * means)
    assert used.all()
    means, _, used = nystrom.segment_means(x, x, mask, 8)
    assert means[0, :, 0].tolist() == [0, 1, 4, 6, 7, 0, 0, 0]
    assert used[0].tolist() == [True] * 5 + [False] * 3


@pytest.mark.parametrize("length", [63, 4096])
def test_kernel_gradients_in_float32(length):
    """conv2d's are wrong by 1 % at 4096 on some CPUs."""
    torch.manual_seed(length)
    v, kernel = torch.randn(1, length, 16), torch.randn(2, 33)
    weights, grads = torch.randn(1, length, 16), []
    for dtype in (torch.float32, torch.float64):
        w = kernel.to(dtype).requires_grad_()
        out = nystrom.convolve(v.to(dtype), w, 1)
        grads += torch.autograd.grad((out * weights).sum(), w)
    assert_close(grads[0].double(), grads[1], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("width", [1, 5, 33, 101])
@pytest.mark.parametrize("length", [1, 16, 31, 32, 33, 64, 70])
def test_a_band_is_a_convolution(length, width, at_once):
    v = tokens(2, length, 12).requires_grad_()
    kernel, weights = tokens(1, 3, width)[0].requires_grad_(), tokens(2, length, 12).flip(1)
    by_head = v.unflatten(2, (3, 4)).transpose(1, 2)
    expected = conv2d(by_head, kernel[:, None, :, None], padding=(width // 2, 0), groups=3)
    expected = expected.transpose(1, 2).flatten(2)
    found = nystrom.convolve(v, kernel, at_once)
    assert_close(found, expected)
    assert_close(
        *(torch.autograd.grad((out * weights).sum(), [v, kernel]) for out in (found, expected))
    )


def test_bfloat16_stays_near():
    module = layer("nystrom", 2, 8).float()
    x = tokens(2, 200, 16).float()
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(x)
    assert_close(rough.float(), module(x), rtol=0, atol=0.05)


def test_an_even_convolution_is_refused():
    with pytest.raises(ValueError, match="options.conv: 32 is even"):
        attention.build("nystrom", 16, 2, 64, conv=32)
