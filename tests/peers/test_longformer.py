"""Longformer against the one of the package transformers, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from oracles import layer, tokens

transformers = pytest.importorskip("transformers")
from transformers.models.longformer.modeling_longformer import (  # noqa: E402
    LongformerSelfAttention,
)


@pytest.mark.parametrize("padding", [0, 21], ids="padding{}".format)
@pytest.mark.parametrize("global_tokens", [0, 1, 3], ids="global{}".format)
@pytest.mark.parametrize("window", [8, 32], ids="window{}".format)
def test_equals_transformers(window, global_tokens, padding):
    length = 96  # the peer wants a multiple of the window
    ours = layer("longformer", 2, 8, window=window, global_tokens=global_tokens)
    config = transformers.LongformerConfig(
        hidden_size=16,
        num_attention_heads=2,
        attention_window=[window],
        attention_probs_dropout_prob=0.0,
    )
    peer = LongformerSelfAttention(config, 0).double().eval()
    for name in ("query", "key", "value"):
        copy(getattr(ours, name), getattr(peer, name))
        if global_tokens:
            copy(getattr(ours, f"global_{name}"), getattr(peer, f"{name}_global"))
    nn.init.eye_(ours.out.weight)  # the peer leaves it to another module
    x = tokens(2, length, 16)
    mask = torch.arange(length).expand(2, -1) < length - padding
    codes = torch.zeros(2, length, dtype=x.dtype).masked_fill(~mask, -10_000)
    codes[:, :global_tokens] = 10_000
    expected = peer(
        x,
        attention_mask=codes,
        is_index_masked=~mask,
        is_index_global_attn=codes > 0,
        is_global_attn=global_tokens > 0,
    )[0]
    assert_close(
        ours(x, mask)[mask], expected[mask], rtol=1e-6, atol=1e-6
    )  # its softmax is float32


def copy(ours: nn.Linear, peer: nn.Linear) -> None:
    with torch.no_grad():
        peer.weight.copy_(ours.weight)
        peer.bias.zero_()
