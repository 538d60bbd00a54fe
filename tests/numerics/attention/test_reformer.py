"""Reformer: buckets, chunks and rounds of hashing."""

from __future__ import annotations

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize
from torch.testing import assert_close

import naive.reformer
from lra import attention
from lra.attention import reformer
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Slow(nn.Module):
    """The layer by `naive.reformer`, from the same hashes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        m = self.module
        q, v = (p(x).unflatten(-1, (m.heads, -1)) for p in (m.query, m.value))
        real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        buckets = reformer.hash_into_buckets(q, mask, m.rotations, m.bucket_size)
        return m.out(
            naive.reformer.attention(q, v, buckets, real, m.bucket_size, m.causal).flatten(2)
        )


@given(
    length=st.integers(1, 36),
    bucket_size=st.integers(1, 12),
    hashes=st.integers(1, 4),
    causal=st.booleans(),
    masked=st.booleans(),
)
@examples(25)
def test_equals_naive_outputs_and_gradients(length, bucket_size, hashes, causal, masked):
    module = layer(
        "reformer", 2, 4, max_len=40, bucket_size=bucket_size, hashes=hashes, causal=causal
    )
    x, mask = tokens(2, length, 8), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Slow(module), x, mask))


@given(seed=st.integers(0, 1000), hashes=st.integers(1, 3), causal=st.booleans())
@examples(20)
def test_equals_naive_with_buckets_larger_than_chunks(seed, hashes, causal):
    """Two buckets of about 15 tokens in chunks of 4, so that chunks cut buckets."""
    generator = torch.Generator().manual_seed(seed)
    q, v = (torch.randn(2, 32, 2, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    buckets = torch.randint(0, 2, (hashes, 2, 2, 32), generator=generator)
    whole = torch.ones(2, 32, dtype=torch.bool)
    expected = naive.reformer.attention(q, v, buckets, whole, 4, causal)
    assert_close(reformer.attend(q, v, buckets, 4, causal), expected)


@given(rounds=st.integers(1, 3), chunks=st.integers(1, 17), causal=st.booleans())
@examples(20)
def test_rounds_and_chunks_at_once_change_nothing(rounds, chunks, causal):
    """Outputs and gradients of three rounds of 16 chunks of 4 tokens."""
    q, v = (t.reshape(2, 16, 2, 4).requires_grad_() for t in tokens(2, 16, 16).chunk(2, dim=-1))
    generator = torch.Generator().manual_seed(0)
    buckets = torch.randint(0, 3, (3, 2, 2, 16), generator=generator)
    results = []
    for at_once in ((3, 16), (rounds, chunks)):
        out = reformer.attend(q, v, buckets, 4, causal, at_once=at_once)
        results.append((out, *torch.autograd.grad(out.square().sum(), (q, v))))
    assert_close(*results)


@pytest.mark.parametrize("hashes", [1, 4], ids=["R1", "R4"])
@pytest.mark.parametrize("length", [50, 64], ids=["N50", "N64"])
@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
def test_one_chunk_is_full_attention_without_oneself(length, hashes, causal):
    module, x = layer("reformer", 2, 8, hashes=hashes, causal=causal), tokens(2, length, 16)
    q, v = (rearrange(p(x), "b n (h d) -> b h n d", h=2) for p in (module.query, module.value))
    scores = q @ (q / (q.square().mean(-1, keepdim=True) + 1e-6).sqrt()).mT / 8**0.5
    scores = scores.masked_fill(torch.eye(length, dtype=torch.bool), -1e5)
    if causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    assert_close(module(x), module.merge(scores.softmax(-1) @ v))


@pytest.mark.parametrize("size", [16, 64])
def test_scores_in_a_bucket_are_not_small_at_the_start(size):
    """Of normalised tokens and new weights: near 1 at every head size, so softmax is not flat."""
    module = layer("reformer", 2, size, 1024)
    x = layer_norm(tokens(1, 1024, 2 * size), (2 * size,))
    q = module.query(x).unflatten(-1, (2, size))
    _, _, place = reformer.places(reformer.hash_into_buckets(q, None, module.rotations, 64), 64)
    step = place[0, 0, :, :, None] - place[0, 0, :, None]  # (H, N, N)
    seen = ((step == 0) | (step == 1)) & ~torch.eye(1024, dtype=torch.bool)
    q = q[0].transpose(0, 1)
    spread = (q @ reformer.unit_length(q).mT)[seen].std().item()
    print(f"D = {size}: standard deviation {spread:.2f}")
    assert 0.9 < spread < 1.4


def test_a_token_alone_sees_itself():
    module, x = layer("reformer", 2, 8), tokens(2, 80, 16)
    mask = torch.zeros(2, 80, dtype=torch.bool)
    mask[:, 7] = True
    assert_close(module(x, mask)[:, 7], module.out(module.value(x[:, 7])))


def test_buckets_are_the_nearest_of_the_rotated_axes():
    """h(x) = argmax [xR; -xR], so opposite tokens share no bucket and a longer one keeps its own."""
    q = tokens(1, 64, 16).view(1, 64, 2, 8)
    rotations = layer("reformer", 2, 8, bucket_size=8, max_len=64).rotations
    buckets = reformer.hash_into_buckets(q, None, rotations, 8)
    turned = torch.einsum("bnhd,rhdc->rbhnc", q, rotations)
    assert torch.equal(buckets, torch.cat([turned, -turned], -1).argmax(-1))
    assert torch.equal(reformer.hash_into_buckets(3 * q, None, rotations, 8), buckets)
    assert torch.equal(reformer.hash_into_buckets(-q, None, rotations, 8), (buckets + 8) % 16)


def test_padding_has_its_own_bucket_and_takes_none_from_real_tokens():
    module, mask = layer("reformer", 1, 8, bucket_size=8), torch.arange(64)[None] < 20
    q = tokens(1, 64, 8).view(1, 64, 1, 8)
    buckets = reformer.hash_into_buckets(q, mask, module.rotations, 8)
    alone = reformer.hash_into_buckets(q[:, :24], mask[:, :24], module.rotations, 8)
    assert torch.equal(buckets[..., :20] % 8, alone[..., :20] % 3)  # 8 chunks and 3, +x before -x
    assert torch.equal(buckets[..., :20] // 8, alone[..., :20] // 3)
    assert (buckets[..., 20:] > buckets[..., :20].amax(-1, keepdim=True)).all()


@pytest.mark.parametrize("hashes", [1, 2, 3])
def test_more_rounds_find_more_nearest_neighbours(hashes):
    """Share of tokens that see their nearest neighbour, against twice as many rounds."""

    def recall(rounds: int, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        q = torch.randn(1, 512, 1, 16, generator=generator)
        rotations = torch.randn(rounds, 1, 16, 32, generator=generator)
        buckets = reformer.hash_into_buckets(q, None, rotations, 16)
        _, _, place = reformer.places(buckets, 16)
        step = place[:, 0, 0, :, None] - place[:, 0, 0, None]  # (R, N, N)
        unit = normalize(q[0, :, 0], dim=-1)
        nearest = (unit @ unit.T).fill_diagonal_(-1).argmax(-1)
        return ((step == 0) | (step == 1)).any(0)[torch.arange(512), nearest].float().mean().item()

    for seed in range(3):
        few, many = recall(hashes, seed), recall(2 * hashes, seed)
        print(f"seed {seed}: {hashes} rounds {few:.3f}, {2 * hashes} rounds {many:.3f}")
        assert many > 1.2 * few


def test_training_draws_new_rotations_and_evaluation_keeps_its_own():
    x = tokens(1, 300, 16)
    module = layer("reformer", 2, 8, bucket_size=8, hashes=1)
    assert torch.equal(module(x), module(x))
    assert not torch.equal(module(x), layer("reformer", 2, 8, bucket_size=8, hashes=1, seed=2)(x))
    module.train()
    assert not torch.equal(module(x), module(x))


def test_dropout_drops_weights():
    """With one value everywhere, outputs are sums of weights: 1, but for what was dropped."""
    module = layer("reformer", 1, 8, dropout=0.5).train()
    torch.manual_seed(0)
    q = tokens(1, 64, 8).view(1, 64, 1, 8)
    ones, buckets = torch.ones_like(q), torch.zeros(1, 1, 1, 64, dtype=torch.long)
    sums = reformer.attend(q, ones, buckets, 64, dropout=module.drop)
    assert_close(reformer.attend(q, ones, buckets, 64), ones)
    assert sums.std() > 0.05
    assert abs(sums.mean() - 1) < 0.1


def test_parameters_are_the_papers():
    module = attention.build("reformer", 32, 4, 64, reversible=True)
    assert sum(p.numel() for p in module.parameters()) == 3 * 32**2
    assert module.reversible
