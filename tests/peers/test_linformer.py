"""Against the package linformer: a projection each for keys and values, shared by all heads."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import layer, shape_id, tokens

package = pytest.importorskip("linformer")


@pytest.mark.parametrize("shape", [(2, 40, 2, 8), (1, 64, 4, 4)], ids=shape_id)
def test_outputs_agree(shape):
    batch, length, heads, size = shape
    ours = layer("linformer", heads, size, 64, k=16, sharing="headwise")
    peer = package.LinformerSelfAttention(heads * size, 64, k=16, heads=heads).double()
    with torch.no_grad():
        for theirs, mine in zip(
            (peer.to_q, peer.to_k, peer.to_v, peer.to_out),
            (ours.query, ours.key, ours.value, ours.out),
            strict=True,
        ):
            theirs.weight.copy_(mine.weight)
        peer.to_out.bias.zero_()
        peer.proj_k.copy_(ours.projection[0].T)
        peer.proj_v.copy_(ours.projection[1].T)
    x = tokens(batch, length, heads * size)
    assert_close(ours(x), peer(x))
