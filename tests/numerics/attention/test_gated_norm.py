"""The norm and gate of mamba2, deltanet and retention against torch's layers."""

import pytest
import torch
from torch.nn.functional import rms_norm, silu
from torch.testing import assert_close

from lra.attention.shared.gated_norm import GatedNorm
from oracles import tokens


def naive(y, gate, eps, gate_first):
    if gate_first:
        return rms_norm(y * silu(gate), y.shape[-1:], None, eps)
    return rms_norm(y, y.shape[-1:], None, eps) * silu(gate)


@pytest.mark.parametrize("gate_first", [False, True], ids=["gate-last", "gate-first"])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e4])
def test_outputs_and_gradients(gate_first, scale):
    y, gate = scale * tokens(2, 5, 6), tokens(2, 5, 6).flip(1)
    y[0, 0] = 0
    given = [y.requires_grad_(), gate.requires_grad_()]
    weights = tokens(2, 5, 6).flip(2)
    results = []
    for norm in (GatedNorm.apply, naive):
        out = norm(y, gate, 1e-5, gate_first)
        results.append((out, *torch.autograd.grad((out * weights).sum(), given)))
    for ours, expected in zip(*results, strict=True):
        assert ours.isfinite().all()
        assert_close(ours, expected, rtol=1e-9, atol=1e-12)
