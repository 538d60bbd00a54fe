"""Performer against the N x N form of its features, and its limit of softmax attention."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.testing import assert_close

import naive.performer
from lra.attention import performer
from oracles import gradients, holes, layer, tokens
from tiny import examples


class Naive(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.inner = module

    def forward(self, x, mask=None):
        inner = self.inner
        mask = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
        q, k, v = inner.project(x)
        rest = (inner.projection, mask, inner.kernel, inner.causal)
        return inner.merge(naive.performer.attention(q, k, v, *rest))


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("kernel", ["softmax", "relu", "relu-unprojected"])
@given(length=st.sampled_from([1, 2, 40, 256, 257, 600]), masked=st.booleans())
@examples(8)
def test_equals_its_naive_form(kernel, causal, length, masked):
    features = None if kernel == "relu-unprojected" else 24
    module = layer("performer", 2, 8, features=features, kernel=kernel, causal=causal)
    x, mask = tokens(2, length, 16), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


def test_large_keys_and_queries_neither_overflow_nor_vanish():
    module = layer("performer", 2, 8).float()
    x, mask = 30 * tokens(2, 50, 16).float(), holes(2, 50)
    x = torch.where(mask[:, :, None], x, 100 * x)
    out, grads = gradients(module, x, mask)
    assert out.isfinite().all()
    assert out[mask].any(-1).all()
    assert all(gradient.isfinite().all() for gradient in grads)


def errors(features: list[int], orthogonal: bool, seed: int, draws: int = 40) -> list[float]:
    """Root mean squared errors of the attention's outputs, D = 16, over `draws` projections."""
    q, k, v = (0.4 * tokens(1, length, 16)[:, None, :60] for length in (60, 61, 62))
    exact = scaled_dot_product_attention(q, k, v)
    mask = torch.ones(1, 60, dtype=torch.bool)
    torch.manual_seed(seed)
    means = []
    for count in features:
        estimates = (
            naive.performer.attention(q, k, v, performer.draw(count, 16, orthogonal).double(), mask,
                            "softmax", causal=False)
            for _ in range(draws)
        )  # fmt: skip
        means.append(np.sqrt(np.mean([(e - exact).square().mean().item() for e in estimates])))
    return means


@pytest.mark.parametrize("orthogonal", [True, False], ids=["orthogonal", "independent"])
def test_error_falls_with_the_root_of_the_features(orthogonal):
    seed = 0
    print(f"seed {seed}")
    features = [16, 64, 256, 1024, 4096]
    slope = np.polyfit(np.log(features), np.log(errors(features, orthogonal, seed)), 1)[0]
    assert -0.6 < slope < -0.4


def test_orthogonal_projections_err_less():
    seed = 1
    print(f"seed {seed}")
    orthogonal, independent = (errors([16], kind, seed, draws=300)[0] for kind in (True, False))
    assert orthogonal < 0.95 * independent


def test_projections_are_orthogonal_in_blocks_and_each_is_normal():
    torch.manual_seed(0)
    blocks = performer.draw(40, 16, True).split(16)
    assert [len(block) for block in blocks] == [16, 16, 8]
    for block in blocks:
        product = block @ block.T
        assert_close(product, product.diagonal().diag(), atol=1e-4, rtol=0)
    many = performer.draw(64_000, 16, True)
    assert_close(many.mean(0), torch.zeros(16), atol=0.02, rtol=0)
    assert_close(many.T @ many / len(many), torch.eye(16), atol=0.03, rtol=0)


def test_projections_are_redrawn_in_training_only():
    module = layer("performer", 2, 8, redraw=3)
    x, seen = tokens(2, 10, 16), [module.projection.clone()]
    module(x)
    assert_close(module.projection, seen[0], rtol=0, atol=0)
    module.train()
    for _ in range(7):
        module(x)
        seen.append(module.projection.clone())
    changed = [not torch.equal(a, b) for a, b in zip(seen, seen[1:], strict=False)]
    assert changed == [False, False, True, False, False, True, False]


def test_redrawing_between_two_forwards_keeps_both_gradients():
    """Two towers run one layer twice before a backward."""
    module = layer("performer", 2, 8, redraw=1).train()
    x = tokens(2, 10, 16).requires_grad_()
    torch.manual_seed(0)
    (module(x).sum() + module(x).sum()).backward()
    torch.manual_seed(0)
    parts = [torch.autograd.grad(module(x).sum(), x)[0] for _ in range(2)]
    assert_close(x.grad, sum(parts))


def test_redrawing_continues_with_the_same_bits():
    x, options = tokens(2, 10, 16), {"redraw": 2}
    module = layer("performer", 2, 8, **options).train()
    module(x)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    rng = torch.get_rng_state()
    expected = [module(x) for _ in range(4)]
    resumed = layer("performer", 2, 8, **options).train()
    resumed.load_state_dict(state)
    torch.set_rng_state(rng)
    assert_close([resumed(x) for _ in range(4)], expected, rtol=0, atol=0)


def test_redrawing_at_every_call_is_in_evaluation_too_and_repeats():
    """As in the arena's ListOps."""
    module, x = layer("performer", 2, 8, features=2, redraw="call"), tokens(2, 10, 16)
    state = torch.get_rng_state()
    first = [module(x) for _ in range(4)]
    assert len({out.sum().item() for out in first}) == 4
    module.eval()
    assert_close([module(x) for _ in range(4)], first, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), state)
    kept = module.projection.clone()
    other = layer("performer", 2, 8, features=2, redraw="call")
    other.tie(module)
    assert not torch.equal(other(x), first[0])
    module.train()
    drawn = [module.current_projection().clone() for _ in range(3)]
    assert not any(torch.equal(a, b) for a, b in zip([kept, *drawn], drawn, strict=False))


@pytest.mark.parametrize(("size", "count"), [(1, 8), (2, 8), (8, 24), (16, 48), (64, 272)])
def test_default_features_grow_with_the_head(size, count):
    assert layer("performer", 1, size).projection.shape == (count, size)


def test_the_arenas_relu_kernel_has_no_projection():
    """What five of its six tasks run: D features, linear in the tokens' scale but for 0.001."""
    module = layer("performer", 2, 8, kernel="relu-unprojected")
    assert module.projection is None
    assert not list(module.buffers())
    q = torch.tensor([[2.0, -1.0]]).double().view(1, 1, 1, 2)
    k = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-1.0, -1.0]]).double().view(1, 1, 3, 2)
    v = torch.eye(3).double().view(1, 1, 3, 3)
    rows = torch.tensor([2.001 * 1.001 + 1e-6, 2.001 * 1e-3 + 3.001e-3, 2.001e-3 + 1e-6]).double()
    assert_close(module.attend(q, k, v, None, None)[0, 0, 0], rows / rows.sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("option", [{"features": 8}, {"redraw": 2}])
def test_an_option_of_projections_is_refused_without_them(option):
    with pytest.raises(ValueError, match=f"options.{next(iter(option))}: kernel 'relu-unproj"):
        layer("performer", 2, 8, kernel="relu-unprojected", **option)


@pytest.mark.slow
def test_redrawing_compiles():
    module = layer("performer", 2, 8, redraw=2).train()
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = tokens(2, 10, 16)
    module(x), compiled(x)
    assert module.forwards == 2
