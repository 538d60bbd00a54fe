"""Compressive Transformer's mathematics: compression, its loss, and where gradients go."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import naive.compressive
from lra import attention
from lra.core.errors import LRAError
from oracles import gradients, holes, layer, tokens
from tiny import examples

COMPRESSIONS = ["mean", "max", "conv"]


class Naive(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, mask=None):
        return naive.compressive.attention(self.inner, x, mask)[0]


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(
    length=st.integers(1, 60),
    slots=st.integers(1, 3),
    rate=st.integers(1, 4),
    older=st.integers(1, 3),
)
@examples(15)
def test_compressive_equals_its_naive_form(causal, masked, compression, length, slots, rate, older):
    options = {"segment": slots * rate, "rate": rate, "compressed_segments": older}
    module = layer("compressive", 2, 4, causal=causal, compression=compression, **options)
    x, mask = tokens(2, length, 8), holes(2, length) if masked else None
    assert_close(gradients(module, x, mask), gradients(Naive(module), x, mask))


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "holes"])
@given(length=st.integers(9, 60), slots=st.integers(1, 2), rate=st.integers(1, 4))
@examples(25)
def test_auxiliary_loss_equals_its_naive_form(masked, length, slots, rate):
    module = layer("compressive", 2, 4, segment=slots * rate, rate=rate).train()
    x, mask = tokens(2, length, 8), holes(2, length) if masked else None
    module(x, mask)
    expected = naive.compressive.attention(module, x, mask)[1]
    assert_close(module.auxiliary, expected)
    if expected:
        weight = module.convolution.weight
        ours, theirs = (torch.autograd.grad(loss, weight) for loss in (module.auxiliary, expected))
        assert_close(ours, theirs)


def reached(module, loss):
    """Which parameters a loss has a gradient for."""
    module.zero_grad()
    loss.backward()
    pairs = module.named_parameters()
    return {name for name, p in pairs if p.grad is not None and p.grad.abs().max() > 0}


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "holes"])
def test_each_loss_trains_its_own_parameters(masked):
    module = layer("compressive", 2, 8, segment=8, rate=2).train()
    x, mask = tokens(2, 50, 16).requires_grad_(), holes(2, 50) if masked else None
    module(x, mask)
    assert reached(module, module.auxiliary) == {"convolution.weight"}
    assert x.grad is None or x.grad.abs().max() == 0
    every = {name for name, _ in module.named_parameters()}
    assert reached(module, module(x, mask).square().sum()) == every - {"convolution.weight"}
    assert x.grad.abs().max() > 0


def test_both_losses_together_have_the_sum_of_their_gradients():
    module = layer("compressive", 2, 8, segment=8, rate=2).train()
    x = tokens(2, 50, 16)
    names, parameters = zip(*module.named_parameters(), strict=True)
    out = module(x)
    both = torch.autograd.grad(out.square().sum() + module.auxiliary, parameters)
    out = module(x)
    task = torch.autograd.grad(out.square().sum(), parameters, allow_unused=True)
    own = torch.autograd.grad(naive.compressive.attention(module, x)[1], module.convolution.weight)
    for name, together, alone in zip(names, both, task, strict=True):
        assert_close(together, own[0] if name == "convolution.weight" else alone)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_auxiliary_is_there_only_to_learn_from(compression):
    module = layer("compressive", 2, 8, segment=8, rate=2, compression=compression).train()
    module(tokens(1, 20, 16))
    assert (module.auxiliary is not None) == (compression == "conv")
    module(tokens(1, 8, 16))  # one segment: nothing to compress
    assert module.auxiliary is None
    module.train()(tokens(1, 20, 16))
    module.eval()(tokens(1, 20, 16))
    assert module.auxiliary is None


@given(length=st.integers(9, 40), extra=st.integers(1, 40))
@examples(20)
def test_auxiliary_does_not_depend_on_padding(length, extra):
    module = layer("compressive", 2, 8, segment=8, rate=4).train()
    x, mask = tokens(2, length + extra, 16), holes(2, length + extra)
    mask[:, length:] = False
    module(x, mask)
    padded = module.auxiliary
    module(x[:, :length], mask[:, :length])
    assert_close(padded, module.auxiliary)


@pytest.mark.parametrize("older", [1, 2])
def test_a_segment_sees_compressed_memory_memory_and_itself(older):
    module = layer("compressive", 2, 8, segment=10, rate=5, compressed_segments=older)
    x = tokens(1, 60, 16)
    for seen in range(6):
        changed = x.clone()
        changed[:, seen * 10 : seen * 10 + 10] += 1
        differs = (module(changed) - module(x)).abs().amax(dim=(0, 2)) > 1e-9
        for segment in range(6):
            expected = segment - older - 1 <= seen <= segment
            assert (differs[segment * 10 : segment * 10 + 10] == expected).all()


def test_compressed_memory_passes_no_gradient_to_tokens():
    module = layer("compressive", 2, 8, segment=10, rate=5).train()
    x = tokens(1, 40, 16).requires_grad_()
    module(x)[:, 30:].sum().backward()
    assert x.grad[:, 30:].abs().min() > 0
    assert x.grad[:, :30].abs().max() == 0


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_two_segments_are_transformer_xl(causal):
    """Before anything left the memory, there is nothing compressed to see."""
    options = {"segment": 16, "causal": causal}
    module = layer("compressive", 2, 8, compression="mean", **options)
    recurrent = layer("xl", 2, 8, **options)
    recurrent.load_state_dict(module.state_dict())
    x = tokens(2, 32, 16)
    assert_close(gradients(module, x), gradients(recurrent, x))


def test_rate_one_mean_is_transformer_xl_with_longer_memory():
    module = layer("compressive", 2, 8, segment=8, rate=1, compression="mean")
    recurrent = layer("xl", 2, 8, segment=8, memory_segments=3)
    recurrent.load_state_dict(module.state_dict())
    x, mask = tokens(2, 60, 16), holes(2, 60)
    assert_close(gradients(module, x, mask), gradients(recurrent, x, mask))


def test_a_convolution_of_equal_weights_is_the_mean():
    conv, mean = (
        layer("compressive", 2, 8, segment=8, rate=4, compression=name) for name in ("conv", "mean")
    )
    mean.load_state_dict(conv.state_dict(), strict=False)
    with torch.no_grad():
        conv.convolution.weight.copy_(torch.eye(16).repeat(1, 4) / 4)
    x = tokens(2, 50, 16)
    assert_close(conv(x), mean(x))


def test_perfect_compression_has_no_loss():
    """Equal tokens lose nothing to their mean."""
    module = layer("compressive", 2, 8, segment=8, rate=4).train()
    x = tokens(1, 5, 16).repeat_interleave(8, dim=1)
    module(x)
    assert module.auxiliary > 1e-6
    with torch.no_grad():
        module.convolution.weight.copy_(torch.eye(16).repeat(1, 4) / 4)
    module(x)
    assert module.auxiliary < 1e-24


def test_rate_must_divide_the_segment():
    with pytest.raises(LRAError, match="options.rate: 3 does not divide segment"):
        attention.build("compressive", 16, 2, 64, segment=8, rate=3)
