"""Biases and initialisation of every mechanism's projections."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad
from torch.testing import assert_close

import naive.compressive
import naive.mega
import naive.set
import naive.xl
from lra import attention
from lra.attention import transformer
from lra.attention.base import PROJECTIONS, MultiHead
from oracles import gradients, holes, layer, tokens

NAMES = attention.names()
RELATIVE = {
    "compressive": naive.compressive,
    "mega": naive.mega,
    "set": naive.set,
    "xl": naive.xl,
}


def biased(name: str, **options) -> MultiHead:
    module = layer(name, 2, 8, bias=True, init="torch", **options)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.mul_(4)  # so that nothing hides in a tolerance
    return module


def with_a_constant_feature(module: MultiHead, name: str, **options) -> MultiHead:
    """The same without biases, for tokens with one more feature that is 1: W x + b = [W b] [x 1]"""
    wider = attention.build(name, 17, 2, 512, qkv_dim=16, **options).double().eval()
    state = wider.state_dict()
    for key, value in module.state_dict().items():
        owner, _, kind = key.rpartition(".")
        if key == "out.weight":
            state[key] = pad(value, (0, 0, 0, 1))
        elif value.shape == state.get(key, torch.empty(0)).shape:
            state[key] = value
        elif kind == "weight":
            bias = module.get_submodule(owner).bias
            column = value.new_zeros(len(value)) if bias is None else bias.detach()
            state[key] = torch.cat([value, column[:, None]], dim=1)
    wider.load_state_dict(state)
    return wider


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in RELATIVE])
def test_biases_are_weights_of_a_constant(name, masked):
    module = biased(name)
    wider = with_a_constant_feature(module, name)
    for length in (1, 64, 300):
        x, mask = tokens(2, length, 16), holes(1, length).expand(2, -1) if masked else None
        real = slice(None) if mask is None else mask
        expected = wider(pad(x, (0, 1), value=1.0), mask)[..., :16] + module.out.bias
        assert_close(module(x, mask)[real], expected[real])


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("name", RELATIVE)
def test_biases_of_the_naive_forms(name, masked):
    module = biased(name, **({"segment": 16} if name in ("xl", "compressive") else {}))
    x, mask = tokens(2, 90, 16), torch.ones(2, 90, dtype=torch.bool)
    if masked:
        mask = holes(1, 90).expand(2, -1)

    class Naive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x, mask):
            out = RELATIVE[name].attention(self.inner, x, mask)
            return out[0] if name == "compressive" else out

    assert_close(gradients(module, x, mask), gradients(Naive(), x, mask))
    if name == "compressive":
        module.train()(x, mask)
        assert_close(module.auxiliary, naive.compressive.attention(module, x, mask)[1])


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing_with_biases(name):
    module, x = biased(name), tokens(2, 150, 16)
    mask = (torch.arange(150) < 70).expand(2, -1)
    assert_close(module(x, mask)[:, :70], module(x[:, :70], mask[:, :70]))


@pytest.mark.parametrize("init", ["xavier", "torch"])
@pytest.mark.parametrize("bias", [False, True], ids=["no-bias", "bias"])
@pytest.mark.parametrize("name", NAMES)
def test_initialisation(name, bias, init):
    """Two sets of values with other bounds, for a width other than the model's."""
    torch.manual_seed(0)
    module = attention.build(name, 128, 4, 64, qkv_dim=64, bias=bias, init=init)
    found = 0
    for part in (part for part in module.modules() if isinstance(part, MultiHead)):
        for one in (getattr(part, key) for key in PROJECTIONS if hasattr(part, key)):
            found += 1
            rows, columns = one.weight.shape
            bound = (6 / (rows + columns)) ** 0.5 if init == "xavier" else columns**-0.5
            assert 0.98 * bound < one.weight.abs().max() <= bound
            assert (one.bias is not None) == bias
            if bias:
                assert one.bias.abs().max() <= (0 if init == "xavier" else bound)
                assert init == "xavier" or one.bias.abs().max() > 0.9 * bound
    assert found >= 2


def test_the_default_draws_as_before():
    """No projection is drawn twice, or seeds would give other weights than they gave."""
    torch.manual_seed(0)
    plain = transformer.Attention(16, 2, 64)
    torch.manual_seed(0)
    built = attention.build("transformer", 16, 2, 64)
    assert_close(built.state_dict(), plain.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_biased_layer_learns_all_its_parameters(name):
    """But for biases of keys where softmax cancels them: gradients of all others are not zero."""
    module = biased(name).train()
    torch.manual_seed(0)
    out = module(tokens(2, 150, 16))
    loss = (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum()
    (loss if module.auxiliary is None else loss + module.auxiliary).backward()
    idle = {n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()}
    assert not {n for n in idle if "key.bias" not in n}
