"""BigBird (ITC) against the one of the package transformers, with the same weights and pattern."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from oracles import layer, tokens

transformers = pytest.importorskip("transformers")
from transformers.models.big_bird.modeling_big_bird import (  # noqa: E402
    BigBirdBlockSparseAttention,
    BigBirdModel,
)


@pytest.mark.parametrize("padding", [0, 5], ids="padding{}".format)
@pytest.mark.parametrize("blocks", [8, 13], ids="blocks{}".format)
@pytest.mark.parametrize("random", [1, 3], ids="random{}".format)
def test_equals_transformers(monkeypatch, random, blocks, padding):
    """Padding is less than a block, as the peer's last global block is that of the whole length."""
    size, heads, length = 8, 2, 8 * blocks
    ours = layer("bigbird", heads, 8, block_size=size, random_blocks=random)
    config = transformers.BigBirdConfig(
        hidden_size=16,
        num_attention_heads=heads,
        block_size=size,
        num_random_blocks=random,
        max_position_embeddings=length,
        attention_probs_dropout_prob=0.0,
        use_bias=False,
    )
    peer = BigBirdBlockSparseAttention(config).double().eval()
    peer.load_state_dict(
        {k: v for k, v in ours.state_dict().items() if k not in ("out.weight", "rank")}
    )
    nn.init.eye_(ours.out.weight)  # the peer leaves it to another module
    seen, exists = ours.pattern(torch.arange(blocks), torch.tensor([blocks - 1]))
    drawn = slice(3, None)
    assert exists[0, :, 1:-1, drawn].all()  # the peer cannot do with fewer
    pattern = list(seen[0, :, 1:-1, drawn].numpy())
    monkeypatch.setattr(peer, "_bigbird_block_rand_mask_with_head", lambda **_: pattern)
    x = tokens(2, length, 16)
    mask = torch.arange(length).expand(2, -1) < length - padding
    blocked, band, source, target = BigBirdModel.create_masks_for_block_sparse_attn(
        mask.to(x.dtype), size
    )
    expected = peer(x, band, source, target, blocked, blocked)[0]
    assert_close(ours(x, mask)[mask], expected[mask])
