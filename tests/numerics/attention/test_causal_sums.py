"""Sums over earlier tokens in chunks, against the N x N products."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lra.attention.shared.causal_sums import CHUNK, GROUP, causal_sums

LENGTHS = [1, CHUNK - 1, CHUNK, CHUNK + 1, 100, CHUNK * GROUP + 1]


@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_and_gradients_are_those_of_the_products(length):
    """Of chunks within one group, and of several groups of chunks."""
    torch.manual_seed(0)
    q, k, v, weights = (torch.randn(1, 2, length, d, dtype=torch.float64) for d in (5, 5, 4, 4))
    inputs = [t.requires_grad_() for t in (q, k, v)]
    forms = causal_sums(q, k, v), (q @ k.mT).tril() @ v
    assert_close(*forms)
    assert_close(*(torch.autograd.grad((form * weights).sum(), inputs) for form in forms))


def test_no_token_is_influenced_by_later_ones():
    q, k, v = (torch.randn(1, 1, 200, 4) for _ in range(3))
    changed = [torch.cat([t[:, :, :70], torch.randn(1, 1, 130, 4)], dim=2) for t in (q, k, v)]
    assert torch.equal(causal_sums(q, k, v)[:, :, :70], causal_sums(*changed)[:, :, :70])
