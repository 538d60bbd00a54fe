"""Against transformers' gated delta rule, and against a layer of opengdn.

opengdn's layer has decays sigmoid(w x), which are ours of -w with A = 1 and dt_bias = 0, norms over
all heads (so one head is compared), biases, and queries that are not scaled: its norm's eps is that
of ours times D.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize
from torch.testing import assert_close

from lra.attention.deltanet import EPS
from lra.attention.shared.delta import delta_rule
from oracles import layer, tokens


@pytest.mark.parametrize("length", [1, 64, 150])
def test_transformers_agrees(length):
    pytest.importorskip("transformers")
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    q, k, v = tokens(2, length, 48).float().unflatten(2, (3, 2, 8)).unbind(2)  # (B, N, H, D)
    beta, log = tokens(2, length, 4).float().split(2, 2)
    beta, log = beta.sigmoid(), -log.exp()
    theirs, _ = torch_chunk_gated_delta_rule(q, normalize(k, dim=-1), v, log, beta)
    q, k, v = (t.transpose(1, 2) for t in (q * 8**-0.5, normalize(k, dim=-1), v))
    ours = delta_rule(q, k, v, beta.mT[None], log.mT[None])
    assert_close(ours.transpose(1, 2), theirs, rtol=1e-4, atol=1e-5)


def test_a_layer_of_opengdn_agrees():
    package = pytest.importorskip("opengdn")
    ours = layer("deltanet", 1, 8, causal=True, gate=True)
    peer = package.GatedDeltaMixer(8, 1, norm_eps=EPS * 8, backend="chunkwise").double()
    with torch.no_grad():
        ours.a_log.zero_()
        ours.dt_bias.zero_()
        ours.norm.copy_(tokens(1, 1, 8)[0, 0])
        for parameter in peer.parameters():
            parameter.zero_()
        for name, weight in (
            ("q_proj", ours.query), ("k_proj", ours.key), ("v_proj", ours.value),
            ("beta_proj", ours.beta), ("gate_proj", ours.gate), ("out_proj", ours.out),
        ):  # fmt: skip
            getattr(peer, name).weight.copy_(weight.weight)
        peer.alpha_proj.weight.copy_(-ours.alpha.weight)
        peer.output_norm.weight.copy_(ours.norm)
        for name, taps in zip(("q_conv", "k_conv", "v_conv"), ours.taps, strict=True):
            getattr(peer, name).conv.weight.copy_(taps.T[:, None])
    x = tokens(2, 150, 8)
    # the norms of its queries and keys have no eps
    assert_close(ours(x), peer(x), rtol=1e-4, atol=1e-4)
