"""Sparse Sinkhorn attention: the operator, its limits, and the block by block form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.sinkhorn
from lra.attention import sinkhorn
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        return naive.sinkhorn.attention(
            self.inner, x, x.new_ones(x.shape[:2]).bool() if mask is None else mask
        )


class Fixed(nn.Module):
    """In the place of the sorting network: these logits (G, G)."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, sums):
        return self.logits.expand(*sums.shape[:2], -1, -1)


def gap(length: int) -> torch.Tensor:
    """A mask with holes and a long hole that empties blocks; its last row has nothing."""
    mask = holes(3, length)
    mask[0, length // 4 : length // 2] = False
    return mask


@pytest.mark.parametrize("cut", [None, 1, 2], ids=lambda cut: f"cut-{cut}")
@given(length=st.integers(1, 50), block=st.integers(1, 20))
@examples(12)
def test_equals_its_naive_form(cut, length, block):
    options = {} if cut is None else {"cut": cut}
    module = layer("sinkhorn", 2, 4, max_len=50, block_size=block, iterations=3, **options)
    x = tokens(3, length, 8)
    for mask in (None, gap(length)):
        assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@pytest.mark.parametrize("blocks", [1, 2, 9], ids=lambda blocks: f"G{blocks}")
def test_permutations_are_doubly_stochastic(blocks):
    order = sinkhorn.sinkhorn(tokens(2, blocks * blocks, 4).view(2, 4, blocks, blocks), 200)
    assert order.min() >= 0
    ones = torch.ones(2, 4, blocks, dtype=torch.float64)
    assert_close(order.sum(-1), ones, rtol=0, atol=1e-12)
    assert_close(order.sum(-2), ones, rtol=0, atol=1e-6)


def test_rows_sum_to_one_after_any_number_of_iterations():
    order = sinkhorn.sinkhorn(9 * tokens(2, 36, 4).view(2, 4, 6, 6), 1)
    assert_close(order.sum(-1), torch.ones(2, 4, 6, dtype=torch.float64))
    assert (order.sum(-2) - 1).abs().max() > 0.01


def test_blocks_without_a_real_token_are_no_part_of_the_permutation():
    logits = tokens(2, 36, 4).view(2, 4, 6, 6)
    used = torch.tensor([[True, False, True, True, False, False], [False] * 6])
    order = sinkhorn.sinkhorn(logits, 5, used)
    kept = used[0].nonzero()[:, 0]
    alone = sinkhorn.sinkhorn(logits[:1][..., kept, :][..., kept], 5)
    assert_close(order[:1][..., kept, :][..., kept], alone)
    assert_close(order[0][:, ~used[0]], torch.eye(6).double()[~used[0]].expand(4, -1, -1))
    assert_close(order[1], torch.eye(6).double().expand(4, -1, -1))


@pytest.mark.parametrize("cut", [None, 1], ids=lambda cut: f"cut-{cut}")
def test_one_block_is_full_attention(cut):
    """Its sorted block is itself: every key counts twice."""
    x = tokens(2, 30, 16)
    module = layer("sinkhorn", 2, 8, block_size=30, **({} if cut is None else {"cut": cut}))
    full = layer("transformer", 2, 8)
    full.load_state_dict(module.state_dict(), strict=False)
    for mask in (None, holes(2, 30)):
        (out, grads), (expected, expected_grads) = (gradients(m, x, mask) for m in (module, full))
        assert_close(out, expected)
        assert_close(grads[:5], expected_grads)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_a_hard_permutation_shows_each_block_one_other(masked):
    places = [2, 0, 3, 1]
    module = layer("sinkhorn", 2, 8, block_size=10)
    module.sorter = Fixed(1e4 * torch.eye(4).double()[places])
    x, mask = tokens(1, 40, 16), torch.ones(1, 40, dtype=torch.bool)
    if masked:
        mask[0, ::3] = False
        mask[0, 23:29] = False
    q, k, v = module.project(x)
    for block, other in enumerate(places):
        here, there = (slice(10 * i, 10 * i + 10) for i in (block, other))
        real = torch.cat([mask[0, here], mask[0, there]])
        keys, values = (torch.cat([t[:, :, here], t[:, :, there]], 2)[:, :, real] for t in (k, v))
        attended = (q[:, :, here] @ keys.mT / 8**0.5).softmax(-1) @ values
        out = module(x, mask if masked else None)[:, here]
        assert_close(out[:, mask[0, here]], module.merge(attended)[:, mask[0, here]])


def test_sortcut_shows_everyone_the_first_sorted_blocks():
    module = layer("sinkhorn", 2, 8, block_size=10, cut=2)
    module.sorter = Fixed(1e4 * torch.eye(4).double()[[3, 1, 0, 2]])
    x = tokens(1, 40, 16)
    q, k, v = module.project(x)
    k, v = (torch.cat([t[:, :, 30:], t[:, :, 10:20]], 2) for t in (k, v))
    assert_close(module(x), module.merge((q @ k.mT / 8**0.5).softmax(-1) @ v))


def test_biases_of_projections_are_not_taken_for_tokens():
    module, x = layer("sinkhorn", 2, 8, block_size=10), tokens(2, 36, 16)
    module.set_projections(True, "torch")
    module.double()
    for mask in (None, gap(36)[:2]):
        assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


def test_sortcut_of_more_blocks_than_have_a_token():
    module, x = layer("sinkhorn", 2, 8, block_size=10, cut=3), tokens(2, 36, 16)
    mask = holes(2, 36)
    mask[0, 10:30] = False
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


def test_gradient_reaches_the_sorting_network():
    module = layer("sinkhorn", 2, 8, max_len=60, block_size=10)
    _, grads = gradients(module, tokens(2, 60, 16))
    names = ["x", *(name for name, _ in module.named_parameters())]
    reached = dict(zip(names, grads, strict=True))
    assert all(reached[f"sorter.{i}.weight"].abs().max() > 1e-6 for i in (0, 2))


def test_noise_only_in_training_and_only_if_asked():
    x = tokens(2, 60, 16)
    for gumbel in (True, False):
        module = layer("sinkhorn", 2, 8, block_size=10, gumbel=gumbel)
        still = module(x)
        module.train()
        assert torch.allclose(module(x), still) is not gumbel


def test_noise_is_gumbel():
    """Its mean is Euler's constant and its variance pi^2 / 6."""
    module = layer("sinkhorn", 1, 2, max_len=300, block_size=1, temperature=1.0, iterations=1)
    noise = []
    module.train().sorter = Fixed(torch.zeros(300, 300).double())
    torch.manual_seed(0)
    original = sinkhorn.sinkhorn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinkhorn, "sinkhorn", lambda r, *_: noise.append(r) or original(r, 1))
        module(tokens(1, 300, 2))
    assert noise[0].mean().item() == pytest.approx(0.5772, abs=0.02)
    assert noise[0].var().item() == pytest.approx(1.6449, abs=0.05)


@pytest.mark.parametrize("name", ["temperature", "iterations"])
def test_an_option_of_zero_is_named(name):
    with pytest.raises(ValueError, match=f"options.{name}"):
        layer("sinkhorn", 2, 8, **{name: 0})


def by_definition(order, k, v, real, own):
    """`sinkhorn.Sorted`"""
    real = real.repeat_interleave(len(order) // len(real), 0).to(order.dtype)
    share = torch.einsum("xcg,xgs->xcs", order, real)
    some = share > 0
    share = share.where(some, 1)
    k_sorted, v_sorted = (
        torch.einsum("xcg,xgsd->xcsd", order, t) / share[..., None] for t in (k, v)
    )
    bias = share.log().masked_fill(~some, -torch.inf)
    if not own:
        return k_sorted, v_sorted, bias
    pairs = (k, k_sorted), (v, v_sorted), (real.log(), bias)
    return tuple(torch.cat(pair, 2) for pair in pairs)


def attended(order, k, v, real, own, find=sinkhorn.Sorted.apply):
    """What three queries get from every block's sorted tokens."""
    q = tokens(1, 3, 2)[0].to(k.dtype)
    k, v, bias = find(order, k, v, real, own)
    scores = q @ k.mT
    return (scores if bias is None else scores + bias[:, :, None]).softmax(-1) @ v


def sources(count=3):
    """order (4, `count`, 3), k and v (4, 3, 5, 2), real (2, 3, 5) with nothing at one offset"""
    order = tokens(4, 9, 1).view(4, 3, 3).softmax(-1)[:, :count]
    real = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(0)) > 0.3
    real[:, :, 0], real[:, 0, 1], real[1, :, 3] = True, False, False
    here = real.repeat_interleave(2, 0)[..., None]
    k, v = (tokens(12, 5, 2 * i).view(4, 3, 5, -1)[..., :2] * here for i in (1, 2))
    return [t.clone().requires_grad_() for t in (order, k, v)], real


@pytest.mark.parametrize("own", [True, False], ids=["with-own", "sorted-alone"])
@pytest.mark.parametrize("which", ["mask", "tail", "all"])
def test_gradients_of_sorted_tokens(own, which):
    inputs, mask = sources(count=3 if own else 2)
    tail = torch.ones(1, 3, 5)
    tail[:, -1, 3:] = 0
    real = {"mask": mask, "tail": tail, "all": None}[which]
    assert torch.autograd.gradcheck(lambda *given: attended(*given, real, own), inputs)


@pytest.mark.parametrize("own", [True, False], ids=["with-own", "sorted-alone"])
@pytest.mark.parametrize("least", [0.0, 1e-42, 1e-36, 1e-7])
def test_shares_near_zero_in_float32(own, least):
    inputs, real = sources()
    with torch.no_grad():
        inputs[0][:, 0] = torch.tensor([1 - least, least, 0.0])
        inputs[0].copy_(inputs[0].float())
    singles = [t.detach().float().requires_grad_() for t in inputs]
    expected = attended(*inputs, real, own, by_definition)
    ours = attended(*singles, real, own)
    for out in (expected, ours):
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    for single, double in zip(singles, inputs, strict=True):
        assert single.grad.isfinite().all()
        # neither what is not real nor, through the softmax before, what is nearly zero gets any
        used = single.detach().abs() > 1e-37
        assert_close((single.grad * used).double(), double.grad * used, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cut", [None, 2], ids=lambda cut: f"cut-{cut}")
def test_many_sequences_attend_as_few_with_heads(cut, monkeypatch):
    module, x = layer("sinkhorn", 2, 8, block_size=10, cut=cut), tokens(3, 36, 16)
    for mask in (None, gap(36)):
        few = gradients(module, x, mask)
        with monkeypatch.context() as patch:
            patch.setattr(sinkhorn, "SEQUENCES", 1)
            assert_close(gradients(module, x, mask), few)


@pytest.mark.parametrize("cut", [None, 1, 2], ids=lambda cut: f"cut-{cut}")
def test_every_query_has_a_key(cut, monkeypatch):
    """Fused attention of a GPU need not be finite without one."""
    seen = []
    original = sinkhorn.scaled_dot_product_attention
    monkeypatch.setattr(
        sinkhorn, "scaled_dot_product_attention", lambda *a: seen.append(a[3]) or original(*a)
    )
    module = layer("sinkhorn", 2, 8, block_size=10, cut=cut)
    for mask in (gap(36), torch.zeros(3, 36, dtype=torch.bool)):
        module(tokens(3, 36, 16), mask)
    assert all(bias.amax(-1).isfinite().all() for bias in seen)
    assert len(seen) == 2
