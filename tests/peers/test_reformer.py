"""Reformer against other people's: the same weights, the same buckets, the same outputs."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lra.attention import reformer
from oracles import holes, layer, tokens

# we and trax add 1e-6 to the mean square of a key, reformer_pytorch does not
NEAR = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["N64", "N64-holes"])
@pytest.mark.parametrize("count", [2, 5, 8], ids=lambda count: f"{count}-buckets")
@pytest.mark.parametrize("hashes", [1, 2, 4], ids=lambda hashes: f"R{hashes}")
def test_lsh_attention_of_reformer_pytorch(hashes, count, masked, causal):
    """With its options that restrict attention to buckets and count a key once, as the paper does.

    It divides scores of unit keys by sqrt(D), which trax does not; its queries make up for that.
    """
    peers = pytest.importorskip("reformer_pytorch")
    peer = peers.LSHAttention(
        bucket_size=8,
        n_hashes=hashes,
        causal=causal,
        allow_duplicate_attention=False,
        attend_across_buckets=False,
    )
    generator = torch.Generator().manual_seed(hashes)
    # in float32 a mask of -5e4 rounds the peer's weights of tokens that see themselves alone
    q, v = (torch.randn(2, 64, 1, 16, generator=generator, dtype=torch.float64) for _ in range(2))
    buckets = torch.randint(0, count, (hashes, 2, 1, 64), generator=generator)
    mask = holes(1, 64).expand(2, -1) if masked else torch.ones(2, 64, dtype=torch.bool)
    buckets = buckets.masked_fill(~mask[:, None], count)
    rounds = torch.arange(hashes)[:, None, None] * (count + 1)
    shifted = (buckets[:, :, 0] + rounds).transpose(0, 1).flatten(1)
    peer.hash_vectors = lambda *_, **__: shifted
    expected = peer(q[:, :, 0] * 16**0.5, v[:, :, 0], input_mask=mask)[0]
    ours = reformer.attend(q, v, buckets, 8, causal)[:, :, 0]
    assert_close(ours[mask], expected[mask], **NEAR)


def transformers_layer(module, **options):
    """transformers' LSHSelfAttention, a port of trax's."""
    reformers = pytest.importorskip("transformers.models.reformer.modeling_reformer")
    config = pytest.importorskip("transformers").ReformerConfig(
        hidden_size=16, num_attention_heads=2, attention_head_size=8, num_buckets=4, **options
    )
    peer = reformers.LSHSelfAttention(config).double().eval()
    peer.query_key.weight.data = module.query.weight.data
    peer.value.weight.data = module.value.weight.data
    return peer


@pytest.mark.parametrize("causal", [False, True], ids=["whole", "causal"])
def test_one_chunk_of_transformers(causal):
    module, x = layer("reformer", 2, 8, causal=causal), tokens(2, 64, 16)
    peer = transformers_layer(module, lsh_attn_chunk_length=64, is_decoder=causal)
    assert_close(module(x), module.out(peer(x).hidden_states), rtol=1e-5, atol=1e-6)


def test_one_bucket_in_chunks_of_transformers():
    """It attends across buckets and back from the first chunk to the last; here neither matters."""
    module, x = layer("reformer", 2, 8, causal=True), tokens(2, 64, 16)
    peer = transformers_layer(module, lsh_attn_chunk_length=8, is_decoder=True, num_hashes=1)
    expected = peer(x, buckets=torch.zeros(2, 2, 1, 64, dtype=torch.long)).hidden_states
    q, v = (p(x).unflatten(-1, (2, 8)) for p in (module.query, module.value))
    buckets = torch.zeros(1, 2, 2, 64, dtype=torch.long)
    ours = reformer.attend(q, v, buckets, 8, causal=True).flatten(2)
    assert_close(ours, expected, rtol=1e-5, atol=1e-6)
