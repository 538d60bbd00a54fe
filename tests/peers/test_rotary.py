"""Rotary positions and ALiBi against those of x-transformers, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import layer, tokens

peers = pytest.importorskip("x_transformers.x_transformers")


@pytest.mark.parametrize("padding", [0, 21], ids="padding{}".format)
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("positions", ["rotary", "alibi"])
@pytest.mark.parametrize("heads", [2, 4, 6])
def test_equals_x_transformers(heads, positions, causal, padding):
    ours = layer("rotary", heads, 8, positions=positions, causal=causal)
    peer = peers.Attention(8 * heads, dim_head=8, heads=heads, causal=causal).double().eval()
    peer.load_state_dict(
        {
            f"to_{theirs}.weight": getattr(ours, name).weight
            for theirs, name in (("q", "query"), ("k", "key"), ("v", "value"), ("out", "out"))
        }
    )
    x = tokens(2, 90, 8 * heads)
    mask = torch.arange(90).expand(2, -1) < 90 - padding
    if positions == "rotary":
        given = {"rotary_pos_emb": peers.RotaryEmbedding(8).forward_from_seq_len(90)}
    else:
        given = {"rel_pos": peers.AlibiPositionalBias(heads)}
    expected = peer(x, mask=mask, **given)[mask]
    # its angles and slopes are float32
    assert_close(ours(x, mask)[mask], expected, rtol=1e-5, atol=1e-5)
