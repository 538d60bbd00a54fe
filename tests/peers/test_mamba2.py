"""Against transformers: Mamba-2 with one group of B and C, causal."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import layer, tokens


@pytest.mark.parametrize("length", [1, 40, 200])
def test_causal_outputs_agree(length):
    transformers = pytest.importorskip("transformers")
    modeling = pytest.importorskip("transformers.models.mamba2.modeling_mamba2")
    heads, size, state = 2, 16, 8
    config = transformers.Mamba2Config(
        hidden_size=16, num_heads=heads, head_dim=size, state_size=state, n_groups=1, chunk_size=32,
        layer_norm_epsilon=1e-5, use_cache=False,
    )  # fmt: skip
    peer = modeling.Mamba2Mixer(config, 0).eval()
    ours = layer("mamba2", heads, 8, causal=True, state=state).float()  # their sums are float32
    projections = (ours.gate, ours.value, ours.key, ours.query, ours.step)
    convs = (ours.value_conv, ours.key_conv, ours.query_conv)
    with torch.no_grad():
        ours.dt_bias.add_(3)
        peer.in_proj.weight.copy_(torch.cat([p.weight for p in projections]))
        peer.conv1d.weight.copy_(torch.cat([c.kernel.T for c in convs])[:, None])
        peer.conv1d.bias.copy_(torch.cat([c.bias for c in convs]))
        peer.dt_bias.copy_(ours.dt_bias)
        peer.A_log.copy_(ours.a_log)
        peer.D.copy_(ours.skip)
        peer.norm.weight.copy_(ours.norm)
        peer.out_proj.weight.copy_(ours.out.weight)
    x = tokens(2, length, 16).float()
    assert_close(ours(x), peer(x), rtol=1e-4, atol=1e-5)
