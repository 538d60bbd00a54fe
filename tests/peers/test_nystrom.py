"""Against transformers and nystrom-attention, on whole sequences that segments divide evenly.

Both scale the first guess of the pseudo-inverse by norms over all heads and examples, so one head
of one example is compared where the iteration has not converged.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from oracles import layer, tokens


@pytest.mark.parametrize("conv", [None, 5], ids=["plain", "conv5"])
def test_transformers_agrees(conv):
    transformers = pytest.importorskip("transformers")
    modeling = transformers.models.nystromformer.modeling_nystromformer
    config = transformers.NystromformerConfig(
        hidden_size=16, num_attention_heads=1, num_landmarks=8, segment_means_seq_len=64,
        conv_kernel_size=5, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    peer = modeling.NystromformerSelfAttention(config).double()
    ours = layer("nystrom", 1, 16, landmarks=8, conv=conv)
    with torch.no_grad():
        for name in ("query", "key", "value"):
            getattr(peer, name).weight.copy_(getattr(ours, name).weight)
            getattr(peer, name).bias.zero_()
        if conv is None:
            peer.conv_kernel_size = None
        else:
            peer.conv.weight.copy_(ours.conv[:, None, :, None])
    x = tokens(1, 64, 16)
    # their identity matrix is float32
    assert_close(ours(x), ours.out(peer(x)[0]), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("batch", "heads", "iterations"), [(1, 1, 6), (3, 2, 30)], ids=["one-6", "many-30"]
)
def test_nystrom_attention_agrees(batch, heads, iterations):
    package = pytest.importorskip("nystrom_attention")
    ours = layer("nystrom", heads, 8, landmarks=8, conv=5, iterations=iterations)
    width = 8 * heads
    peer = package.NystromAttention(
        width, dim_head=8, heads=heads, num_landmarks=8, pinv_iterations=iterations,
        residual_conv_kernel=5,
    ).double()  # fmt: skip
    with torch.no_grad():
        weights = (ours.query.weight, ours.key.weight, ours.value.weight)
        peer.to_qkv.weight.copy_(torch.cat(weights))
        peer.to_out[0].weight.copy_(ours.out.weight)
        peer.to_out[0].bias.zero_()
        peer.res_conv.weight.copy_(ours.conv[:, None, :, None])
    x = tokens(batch, 64, width)
    assert_close(ours(x), peer(x), rtol=1e-6, atol=1e-8)
