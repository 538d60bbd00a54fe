"""Against the packages s5-pytorch, with both poles of each pair, and lru-pytorch."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu
from torch.testing import assert_close

from oracles import layer, tokens


@pytest.mark.parametrize("bidirectional", [False, True], ids=["causal", "both"])
def test_s5_outputs_agree(bidirectional):
    package = pytest.importorskip("s5")
    ours = layer("s5", 1, 6, causal=not bidirectional, state=8)
    peer = package.S5(6, 8, bidir=bidirectional, bcInit="dense").seq
    poles, c = ours.poles, torch.view_as_complex(ours.c)
    with torch.no_grad():
        a = torch.complex(poles.a_real, poles.a_imag)
        peer.Lambda = torch.nn.Parameter(torch.cat([a, a.conj()]))
        peer.log_step = torch.nn.Parameter(poles.log_dt.repeat(2))
        conjugate = ours.b * torch.tensor([1.0, -1.0])
        peer.B = torch.nn.Parameter(torch.cat([ours.b, conjugate]))
        both = [part for each in c for part in (each, each.conj())]
        peer.C = torch.nn.Parameter(torch.cat(both, dim=-1))
        peer.D = torch.nn.Parameter(ours.d)
    x = tokens(1, 37, 6)
    v = ours.value(x)
    found = peer(v[0])
    assert_close(ours(x)[0], ours.out(gelu(found)), rtol=1e-5, atol=1e-6)


def test_lru_outputs_agree():
    package = pytest.importorskip("LRU_pytorch")
    ours = layer("s5", 1, 6, causal=True, variant="lru", state=8)
    peer = package.LRU(6, 6, 8).double()
    with torch.no_grad():
        for name in ("nu_log", "theta_log", "gamma_log"):
            getattr(peer, name).copy_(getattr(ours.poles, name))
        peer.B = torch.nn.Parameter(torch.view_as_complex(ours.b))
        peer.C = torch.nn.Parameter(torch.view_as_complex(ours.c)[0])
        peer.D.copy_(torch.diag(ours.d))
    peer.state = peer.state.to(torch.complex128)
    x = tokens(2, 37, 6)
    assert_close(ours(x), ours.out(gelu(peer(ours.value(x)).double())), rtol=1e-5, atol=1e-6)
