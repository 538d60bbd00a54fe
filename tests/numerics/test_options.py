"""The contract of every mechanism (test_attention.py) under each value of each option by itself.

Values of options that are names or switches are read from the mechanisms; numbers are their own
tests' business.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from lra import attention
from oracles import OPTIONS, gradients, holes, layer, tokens

EVERY = pytest.mark.parametrize(
    ("name", "options"),
    OPTIONS,
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)
DRAWS_IN_EVALUATION = {"call"}


def outcome(module: nn.Module, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """As the first batch of an evaluation."""
    return module.eval()(x, mask)


def test_names_and_switches_are_found():
    assert ("local", {"variant": "official"}) in OPTIONS
    assert ("performer", {"redraw": "call"}) in OPTIONS
    assert ("reformer", {"reversible": True}) in OPTIONS
    assert ("bigbird", {"random_blocks": 0}) in OPTIONS


@EVERY
def test_shape_and_finite_gradients(name, options):
    for batch, length, heads, size in [(1, 1, 1, 4), (2, 7, 2, 4), (3, 129, 2, 16)]:
        module = layer(name, heads, size, **options)
        out, grads = gradients(module, tokens(batch, length, heads * size))
        assert out.shape == (batch, length, heads * size)
        assert out.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in grads)


@EVERY
def test_masks_and_padding(name, options):
    module, x = layer(name, 2, 8, **options), tokens(2, 130, 16)
    assert_close(outcome(module, x, torch.ones(2, 130, dtype=torch.bool)), outcome(module, x))
    mask = holes(1, 130).expand(2, -1)
    other = torch.where(mask[:, :, None], x, 10 * x.flip(1))
    assert_close(outcome(module, other, mask)[mask], outcome(module, x, mask)[mask])
    for length in (1, 50, 77, 129):
        mask = (torch.arange(130) < length).expand(2, -1).clone()
        mask[1, length // 2] = length == 1
        padded = outcome(module, x, mask)[:, :length]
        alone = outcome(module, x[:, :length], mask[:, :length])
        assert_close(padded[mask[:, :length]], alone[mask[:, :length]])


@EVERY
def test_examples_are_independent_and_may_be_empty(name, options):
    module = layer(name, 2, 8, **options)
    x, mask = tokens(3, 61, 16), holes(3, 61)
    assert not mask[-1].any()
    out, grads = gradients(module, x, mask)
    assert outcome(module, x, mask).isfinite().all()
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)
    assert_close(outcome(module, x, mask)[:1][mask[:1]], outcome(module, x[:1], mask[:1])[mask[:1]])


@EVERY
def test_training_repeats_and_survives_its_file(name, options):
    x = tokens(2, 80, 16)
    module = layer(name, 2, 8, dropout=0.2, **options).train()
    torch.manual_seed(3)
    module(x)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    rng = torch.get_rng_state()
    expected = [module(x) for _ in range(2)]
    resumed = layer(name, 2, 8, dropout=0.2, **options).train()
    resumed.load_state_dict(state)
    torch.set_rng_state(rng)
    assert_close([resumed(x) for _ in range(2)], expected, rtol=0, atol=0)


@EVERY
def test_evaluation_draws_nothing_from_torchs_generator(name, options):
    module, x = layer(name, 2, 8, dropout=0.2, **options), tokens(2, 80, 16)
    before = torch.get_rng_state()
    assert_close(outcome(module, x), outcome(module, x), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


@EVERY
def test_parameters_are_counted_without_memory(name, options):
    with torch.device("meta"):
        counted = attention.build(name, 64, 4, 100, **options)
    real = attention.build(name, 64, 4, 100, **options)
    assert [p.shape for p in counted.parameters()] == [p.shape for p in real.parameters()]


@pytest.mark.slow
@EVERY
def test_captured_layers_agree(name, options):
    """torch.compile's capture in one graph; test_attention.py has that of the backward pass, too."""
    if set(options.values()) & DRAWS_IN_EVALUATION:
        pytest.skip("draws from a generator of Python's")
    module = layer(name, 2, 8, max_len=128, **options)
    x, mask = tokens(2, 100, 16), holes(1, 100).expand(2, -1)
    torch._dynamo.reset()
    captured = torch.compile(module, backend="eager", fullgraph=True, dynamic=False)
    assert_close(gradients(captured, x, mask), gradients(module, x, mask))
