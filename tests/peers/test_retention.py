"""Against yet-another-retnet, whose five heads have the decays of the paper's equation 8."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import layer, tokens


@pytest.mark.parametrize("length", [1, 40, 200])
def test_causal_outputs_agree(length):
    package = pytest.importorskip("yet_another_retnet.retention")
    ours = layer("retention", 5, 8, causal=True)
    peer = package.MultiScaleRetention(40, 5, bias=False).double().eval()
    with torch.no_grad():
        for theirs, mine in zip(
            (peer.q_proj, peer.k_proj, peer.v_proj, peer.g_proj, peer.out_proj),
            (ours.query, ours.key, ours.value, ours.gate, ours.out),
            strict=True,
        ):
            theirs.weight.copy_(mine.weight)
        peer.thetas.copy_(10_000.0 ** -torch.linspace(0, 1, 4).double().repeat_interleave(2))
    x = tokens(2, length, 40)
    assert_close(ours(x), peer(x, x, x)[0], rtol=1e-5, atol=1e-5)
