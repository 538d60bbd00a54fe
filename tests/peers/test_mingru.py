"""Against minGRU-pytorch, which scans in log-space."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import gradients, layer, tokens

package = pytest.importorskip("minGRU_pytorch")


@pytest.mark.parametrize("length", [2, 150])
def test_outputs_and_gradients_agree(length):
    ours = layer("mingru", 2, 8, causal=True)
    peer = package.minGRU(16, proj_out=True).double()
    with torch.no_grad():
        peer.to_hidden_and_gate.weight.copy_(torch.cat([ours.value.weight, ours.query.weight]))
        ours.gate_bias.zero_()
        peer.to_out.weight.copy_(ours.out.weight)
    x = tokens(2, length, 16)
    found, expected = gradients(ours, x), gradients(peer, x)
    assert_close(found[0], expected[0])
    assert_close(found[1][0], expected[1][0])
