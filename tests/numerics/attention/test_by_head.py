"""Products of one head after another are those of all heads."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lra.attention.shared.by_head import Read, Write


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def agree(found, expected, inputs):
    weights = torch.linspace(-1, 1, found.numel(), dtype=found.dtype).view_as(found)
    assert_close(found, expected)
    assert_close(*(torch.autograd.grad((t * weights).sum(), inputs) for t in (found, expected)))


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_write(at_once):
    torch.manual_seed(0)
    k, v = draw(3, 4, 5, 6), draw(4, 5, 3, 7)
    agree(Write.apply(at_once, k, v), torch.einsum("hmsk,mshp->hmkp", k, v), [k, v])


@pytest.mark.parametrize("pairs", [0, 1, 2])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_read(at_once, pairs):
    torch.manual_seed(pairs)
    weights, v = draw(3, 4, 5, 5), draw(4, 5, 3, 7)
    far = [t for _ in range(pairs) for t in (draw(3, 4, 5, 6), draw(3, 4, 6, 7))]
    expected = torch.einsum("hmst,mthp->mshp", weights, v)
    for q, state in zip(far[::2], far[1::2], strict=True):
        expected = expected + torch.einsum("hmsk,hmkp->mshp", q, state)
    agree(Read.apply(at_once, v, weights, *far), expected, [v, weights, *far])


def test_gradients_may_lie_in_any_order():
    torch.manual_seed(0)
    k, v = draw(2, 3, 4, 5), draw(3, 4, 2, 6)
    found = Write.apply(1, k, v).transpose(0, 1).contiguous()
    agree(found, torch.einsum("hmsk,mshp->mhkp", k, v), [k, v])
