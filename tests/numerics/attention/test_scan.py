"""The scan of shared.scan against a loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lra.attention.shared.scan import Scan, previous
from oracles import tokens
from tiny import examples


@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("matrices", [False, True], ids=["channels", "matrices"])
@given(length=st.integers(1, 70))
@examples(40)
def test_equals_a_loop(matrices, backwards, length):
    a, b = tokens(4, length, 9).split(2)
    a = a.tanh()
    if matrices:  # 3 x 3 and 3 x 2
        a, b = a.unflatten(2, (3, 3)), b[:, :, :6].unflatten(2, (3, 2))
    variables = [a.requires_grad_(), b.contiguous().requires_grad_()]
    a, b = variables
    h, looped = torch.zeros_like(b[:, 0]), [None] * length
    for t in reversed(range(length)) if backwards else range(length):
        h = (a[:, t] @ h if matrices else a[:, t] * h) + b[:, t]
        looped[t] = h
    found, expected = Scan.apply(a, b, backwards), torch.stack(looped, 1)
    assert_close(found, expected)
    weights = torch.linspace(-1, 1, b.numel(), dtype=b.dtype).view_as(b)
    grads = [
        torch.autograd.grad((h * weights).sum(), variables, materialize_grads=True)
        for h in (found, expected)
    ]
    assert_close(*grads)


def test_the_state_before_each_step():
    h = torch.tensor([[1.0, 2.0, 3.0]])
    assert previous(h, False).tolist() == [[0, 1, 2]]
    assert previous(h, True).tolist() == [[2, 3, 0]]
