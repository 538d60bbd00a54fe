"""Mega against mega-pytorch, with the same weights, where that has the paper's layer.

It has neither silu nor omega behind the moving average, one decay for all features, which damping
makes smaller than 1 - p and not larger, T5's bias, and scores divided by sqrt(dim), not sqrt(z).
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from oracles import layer, tokens

peers = pytest.importorskip("mega_pytorch.mega_pytorch")
DIM = 8


def copy(*pairs: tuple[Tensor, Tensor]) -> None:
    with torch.no_grad():
        for to, values in pairs:
            to.copy_(values)


@pytest.mark.parametrize(
    ("function", "causal"),
    [("softmax", False), ("softmax", True), ("laplace", False)],  # causal, it divides by N there
    ids=["softmax", "causal-softmax", "laplace"],
)
def test_equals_mega_pytorch(function, causal):
    ours = layer("mega", 2, DIM // 2, function=function, causal=causal, bias=True, init="torch",
                 qkv_dim=12, z_dim=DIM, truncation=None)  # fmt: skip
    peer = peers.MegaLayer(dim=DIM, ema_heads=16, attn_dim_qk=DIM, attn_dim_value=12,
                           laplacian_attn_fn=function == "laplace", causal=causal).double()  # fmt: skip
    average, attention = peer.multi_headed_ema, peer.single_headed_attn
    decays, damping = [average.alphas], [average.dampen_factors]
    if not causal:
        decays.append(average.reverse_alphas)
        damping.append(average.reverse_dampen_factors)
    copy(
        (ours.ema.beta, average.expansion.unflatten(0, (-1, 16)).mT),
        (ours.ema.gamma, average.reduction.unflatten(0, (-1, 16)).mT * 4),  # sqrt(16) divides it
        *((to, torch.full_like(to, 50.0)) for to in damping),
        (ours.ema.alpha, torch.full_like(ours.ema.alpha, 50.0)),
        (ours.ema.delta, torch.stack(decays)[:, None].expand(-1, DIM, -1)),
        (ours.ema.omega, torch.zeros(DIM)),
        (ours.bias, torch.zeros_like(ours.bias)),
        (attention.rel_pos_bias.relative_attention_bias.weight, torch.zeros(32, 1)),
        (attention.offsetscale.gamma, ours.scale),
        (attention.offsetscale.beta, ours.shift),
        (attention.to_qk[0].weight, ours.query.weight),
        (attention.to_qk[0].bias, ours.query.bias),
        (attention.to_v[0].weight, ours.value.weight),
        (attention.to_v[0].bias, ours.value.bias),
        (peer.Uh, ours.out.weight.T),
    )
    widths = 12, DIM, DIM
    reset, update, h = ours.gates.weight.split(widths)
    copy(
        (ours.gates.bias, torch.linspace(-1, 1, sum(widths))),
        (peer.to_reset_gate[0].weight, reset),
        (peer.to_update_gate[0].weight, update),
        (peer.Wh, h.T),
    )
    reset, update, h = ours.gates.bias.split(widths)
    copy((peer.to_reset_gate[0].bias, reset), (peer.to_update_gate[0].bias, update))
    copy((peer.bh, ours.out.bias + h))
    peer.multi_headed_ema = nn.Sequential(average, nn.SiLU())
    x = tokens(2, 50, DIM)
    assert_close(x + ours(x), peer(x))
