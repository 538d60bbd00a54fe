"""BigBird against its form of all pairs, its pattern of blocks, and full attention as its limit."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import naive.bigbird
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        return naive.bigbird.attention(self.inner, x, mask)


def pattern(module, blocks, last):
    """Of an example that ends in block `last`: seen and exists, (H, G, W)."""
    return (t[0] for t in module.pattern(torch.arange(blocks), torch.tensor([last])))


def random_blocks(module, blocks):
    """(H, G, random_blocks), -1 for those that there are not."""
    seen, exists = pattern(module, blocks, blocks - 1)
    return seen.where(exists, -1)[..., 3:]


@pytest.mark.parametrize("variant", ["itc", "etc"])
@given(
    length=st.integers(1, 90),
    padding=st.integers(0, 30),
    block_size=st.integers(1, 20) | st.just(64),
    random=st.integers(0, 4),
)
@examples(30)
def test_equals_its_naive_form(variant, length, padding, block_size, random):
    options = {"block_size": block_size, "random_blocks": random, "global_tokens": 3}
    module = layer("bigbird", 2, 4, max_len=120, variant=variant, **options)
    x = tokens(2, length + padding, 8)
    mask = holes(2, length + padding)
    mask[:, length:] = False
    for m in (None, mask):
        assert_close(gradients(module, x, m), gradients(Naive(module), x, m))


@pytest.mark.parametrize("variant", ["itc", "etc"])
@pytest.mark.parametrize(("length", "padding"), [(50, 1), (50, 50), (37, 60)])
def test_padding_moves_neither_the_last_global_block_nor_a_random_one(variant, length, padding):
    module = layer("bigbird", 2, 8, max_len=200, block_size=4, random_blocks=2, variant=variant)
    x = tokens(2, length + padding, 16)
    mask = torch.arange(length + padding).expand(2, -1) < length
    assert_close(module(x, mask)[:, :length], module(x[:, :length]))


@pytest.mark.parametrize("random", [0, 1, 3])
def test_few_enough_blocks_are_full_attention(random):
    """A block next to an end sees 3 neighbouring blocks, the other end and the random ones."""
    module = layer("bigbird", 2, 8, max_len=100, block_size=8, random_blocks=random)
    full = layer("transformer", 2, 8)
    full.load_state_dict({k: v for k, v in module.state_dict().items() if k != "rank"})
    for length in (5, 8 * (4 + random) - 3, 8 * (4 + random)):
        x = tokens(2, length, 16)
        for mask in (None, holes(2, length)):
            assert_close(gradients(module, x, mask), gradients(full, x, mask))
    x = tokens(2, 8 * (4 + random) + 1, 16)
    assert not torch.allclose(module(x), full(x))


@pytest.mark.parametrize("variant", ["itc", "etc"])
@pytest.mark.parametrize("last", [0, 1, 2, 5, 19])
def test_a_row_lists_no_block_twice_and_no_global_one(variant, last):
    module = layer("bigbird", 3, 4, max_len=100, block_size=5, variant=variant)
    seen, exists = pattern(module, 20, last)
    for head in range(3):
        for i in range(last + 1):
            row = seen[head, i][exists[head, i]].tolist()
            ends = {0, last} if variant == "itc" else set()
            near = {j for j in (i - 1, i, i + 1) if 0 <= j <= last} - ends
            others = set(range(last + 1)) - ends
            assert near <= set(row) <= others
            apart = len([j for j in others if abs(i - j) > 1])
            assert len(set(row)) == len(row) == len(near) + min(3, apart)


def test_random_blocks_come_from_the_whole_length_alike():
    """Not from the first 1024 positions, as some implementations have it. 512 heads, one block."""
    module = layer("bigbird", 512, 1, max_len=4096, block_size=64)
    counts = random_blocks(module, 64)[:, 30].flatten().bincount(minlength=64)
    candidates = [j for j in range(1, 63) if abs(j - 30) > 1]
    assert counts.sum() == counts[candidates].sum() == 3 * 512
    expected = 3 * 512 / len(candidates)
    assert (counts[candidates] - expected).abs().max() < 4.5 * expected**0.5


def test_heads_layers_and_seeds_have_patterns_of_their_own():
    first, same, second, third, other = (
        layer("bigbird", 2, 4, max_len=256, block_size=4, seed=seed) for seed in (1, 1, 1, 1, 2)
    )
    assert torch.equal(first.rank, same.rank)
    second.tie(first)
    third.tie(first)
    drawn = [random_blocks(m, 64) for m in (first, second, third, other)]
    drawn.append(drawn[0].flip(0))  # the other head's
    for a in range(len(drawn)):
        for b in range(a):
            assert (drawn[a] == drawn[b]).double().mean() < 0.2


def test_extra_tokens_carry_news_from_any_token_to_any_other():
    module = layer("bigbird", 1, 4, max_len=64, block_size=4, random_blocks=0, variant="etc")
    x = tokens(1, 64, 4)
    sees = torch.autograd.functional.jacobian(lambda x: module(x).sum((0, 2)), x)[:, 0].any(-1)
    assert sees.all()


def test_gradients_of_global_blocks_are_not_summed_in_bfloat16():
    """Every block adds one: summed one after another, the last ones would be lost."""
    module, x = layer("bigbird", 2, 8, 2048, block_size=8).float(), tokens(1, 2048, 16).float()
    exact = gradients(module, x)[1][0][:, :8]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = gradients(module, x)[1][0][:, :8]
    assert (rounded - exact).norm() < 0.03 * exact.norm()
