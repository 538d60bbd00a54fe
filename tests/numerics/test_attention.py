"""The contract of every mechanism; what pins each one's mathematics is in attention/.

`lra.attention.names()` is asked for the mechanisms, so a new file is tested as soon as it exists.
"""

from __future__ import annotations

import io

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lra import attention
from oracles import gradients, holes, layer, shape_id, tokens
from tiny import examples

NAMES = attention.names()
CAUSAL = [name for name in NAMES if attention.info(name).causal]
SELECTING = {name for name in NAMES if layer(name, 1, 8).selects}
EXEMPT = {name for name in NAMES if layer(name, 1, 8).padding_exempt}
SHAPES = [(1, 1, 1, 4), (2, 7, 2, 4), (1, 50, 4, 8), (2, 100, 4, 8), (3, 129, 2, 16)]


@pytest.mark.parametrize("shape", SHAPES, ids=shape_id)
@pytest.mark.parametrize("name", NAMES)
def test_shape_and_finite_gradients(name, shape):
    batch, length, heads, size = shape
    out, grads = gradients(layer(name, heads, size), tokens(batch, length, heads * size))
    assert out.shape == (batch, length, heads * size)
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_used(name):
    """A weight without gradient is one that training never moves."""
    module = layer(name, 2, 8, max_len=150).train()
    torch.manual_seed(0)
    out = module(tokens(2, 150, 16))
    loss = (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)).sum()
    (loss if module.auxiliary is None else loss + module.auxiliary).backward()
    idle = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", NAMES)
def test_a_full_mask_is_no_mask(name):
    x = tokens(2, 77, 16)
    module = layer(name, 2, 8)
    assert_close(module(x, torch.ones(2, 77, dtype=torch.bool)), module(x))


@pytest.mark.parametrize("name", NAMES)
def test_what_masked_tokens_hold_does_not_matter(name):
    module = layer(name, 2, 8)
    x, mask = tokens(2, 90, 16), holes(1, 90).expand(2, -1)
    other = torch.where(mask[:, :, None], x, 10 * tokens(2, 90, 16).flip(1))
    assert_close(module(other, mask)[mask], module(x, mask)[mask])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in EXEMPT])
@given(length=st.integers(1, 130), extra=st.integers(1, 130))
@examples(20)
def test_real_tokens_do_not_depend_on_padding(name, length, extra):
    module = layer(name, 2, 8)
    x = tokens(2, length + extra, 16)
    mask = torch.arange(length + extra).expand(2, -1) < length
    mask = mask.clone()
    mask[1, length // 2] = length == 1  # one row has a hole
    padded = module(x, mask)[:, :length]
    alone = module(x[:, :length], mask[:, :length])
    assert padded.isfinite().all()
    assert_close(padded[mask[:, :length]], alone[mask[:, :length]])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [1, 70])
def test_rows_without_any_real_token_stay_finite(name, length):
    x, mask = tokens(2, length, 16), torch.ones(2, length, dtype=torch.bool)
    mask[1] = False
    module = layer(name, 2, 8).train()
    torch.manual_seed(0)
    out, grads = gradients(module, x, mask)
    assert module(x, mask).isfinite().all()
    assert out.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in grads)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [1, 16, 70])
def test_a_batch_without_any_real_token_stays_finite(name, length):
    x, mask = tokens(2, length, 16), torch.zeros(2, length, dtype=torch.bool)
    module = layer(name, 2, 8).train()
    x.requires_grad_()
    out = module(x, mask)
    loss = out.sum() if module.auxiliary is None else out.sum() + module.auxiliary
    grads = torch.autograd.grad(loss, [x, *module.parameters()], materialize_grads=True)
    assert out.isfinite().all() and loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in grads)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_does_not_depend_on_the_others(name):
    module = layer(name, 2, 8)
    x, mask = tokens(3, 61, 16), holes(3, 61)
    mask[-1] = True
    assert_close(module(x, mask)[:1][mask[:1]], module(x[:1], mask[:1])[mask[:1]])


@pytest.mark.parametrize("name", CAUSAL)
def test_no_causal_output_has_a_gradient_from_a_later_token(name):
    module = layer(name, 2, 8, causal=True)
    x = tokens(2, 200, 16).requires_grad_()
    for end in (1, 64, 140, 199):
        (grad,) = torch.autograd.grad(module(x)[:, :end].square().sum(), x)
        own = grad[:, :end].abs().max()
        assert own > 0
        assert grad[:, end:].abs().max() < 1e-14 * own  # an FFT rounds


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", [name for name in CAUSAL if name not in SELECTING])
def test_causal_outputs_do_not_see_later_tokens(name, masked):
    module = layer(name, 2, 8, causal=True)
    x, mask = tokens(2, 200, 16), None
    if masked:
        mask = torch.ones(2, 200, dtype=torch.bool)
        mask[:, 0::7] = False
        mask[:, 100:120] = False
    changed = x.clone()
    changed[:, 140:] += tokens(2, 60, 16)
    real = slice(None) if mask is None else mask[0, :140]
    assert_close(module(changed, mask)[:, :140][:, real], module(x, mask)[:, :140][:, real])
    assert not torch.allclose(module(changed, mask)[:, 140:], module(x, mask)[:, 140:])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CAUSAL])
def test_a_mechanism_without_causal_version_says_so(name):
    with pytest.raises(ValueError, match=f"'{name}' has no causal version"):
        attention.build(name, 16, 2, 64, causal=True)


@pytest.mark.parametrize("name", NAMES)
def test_qkv_may_be_narrower_than_the_model(name):
    module = attention.build(name, 32, 4, 64, qkv_dim=16)
    assert module(torch.randn(2, 9, 32)).shape == (2, 9, 32)


@pytest.mark.parametrize("name", NAMES)
def test_training_with_dropout_is_repeatable_and_evaluation_draws_nothing(name):
    module = layer(name, 2, 8, dropout=0.2)
    x = tokens(2, 80, 16)
    before = torch.get_rng_state()
    assert_close(module(x), module(x), rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)
    runs = []
    for _ in range(2):
        module = layer(name, 2, 8, dropout=0.2).train()
        torch.manual_seed(3)
        runs.append(module(x))
    assert_close(*runs, rtol=0, atol=0)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("name", NAMES)
def test_all_heads_at_once_agree_with_one_at_a_time(name, masked):
    """A GPU takes the first way, a CPU the second."""
    x, mask = tokens(2, 300, 16), holes(1, 300).expand(2, -1) if masked else None
    found = []
    for by_head in (True, False):
        module = layer(name, 2, 8).train()
        module.by_head = lambda x, by_head=by_head: by_head
        torch.manual_seed(0)
        x.requires_grad_()
        out = module(x, mask)
        loss = out.square().sum() if mask is None else out[mask].square().sum()
        loss = loss + (module.auxiliary or 0)
        found.append([out, *torch.autograd.grad(loss, [x, *module.parameters()])])
    real = slice(None) if mask is None else mask
    assert_close(found[0][0][real], found[1][0][real])
    assert_close(found[0][1:], found[1][1:])


@pytest.mark.parametrize("name", NAMES)
def test_saved_state_continues_with_the_same_bits(name):
    """Through the bytes of a file, as a killed training does."""
    x = tokens(2, 80, 16)
    module = layer(name, 2, 8).train()
    module(x)
    file = io.BytesIO()
    torch.save((module.state_dict(), torch.get_rng_state()), file)
    expected = [module(x) for _ in range(2)]
    file.seek(0)
    resumed = attention.build(name, 16, 2, 512).double().train()
    state, rng = torch.load(file)
    resumed.load_state_dict(state)
    torch.set_rng_state(rng)
    assert_close([resumed(x) for _ in range(2)], expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_its_checkpoint_can_be_written(name):
    """A state that is not contiguous is refused."""
    module = attention.build(name, 64, 4, 512)
    assert safetensors.torch.load(safetensors.torch.save(module.state_dict())).keys() == {
        *module.state_dict()
    }


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_counted_without_memory(name):
    with torch.device("meta"):
        counted = attention.build(name, 64, 4, 100)
    real = attention.build(name, 64, 4, 100)
    assert [p.shape for p in counted.parameters()] == [p.shape for p in real.parameters()]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compiled_layers_agree(name):
    """torch.compile's capture in one graph; kernels left as they are. With a mask forward and
    backward, without one forward: each capture takes seconds."""
    module = layer(name, 2, 8, max_len=128)
    x, mask = tokens(2, 100, 16), holes(1, 100).expand(2, -1)
    torch._dynamo.reset()
    how = {"fullgraph": True, "dynamic": False}
    compiled = torch.compile(module, backend="aot_eager_decomp_partition", **how)
    assert_close(gradients(compiled, x, mask), gradients(module, x, mask))
    assert_close(torch.compile(module, backend="eager", **how)(x), module(x))


@pytest.mark.parametrize("name", NAMES)
def test_its_own_defaults_are_valid_options(name):
    """A resolved cell states every option, defaults too."""
    defaults = attention.resolve_options(name, {})
    assert attention.resolve_options(name, defaults) == defaults


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_name_the_nearest_valid_one(name):
    with pytest.raises(ValueError, match="did you mean 'dropout'"):
        attention.build(name, 32, 4, 64, dropuot=0.1)


def test_unknown_mechanism_names_the_nearest_one():
    with pytest.raises(ValueError, match="did you mean 'linear'"):
        attention.build("liner", 32, 4, 64)


def test_an_option_of_the_wrong_type_is_named():
    with pytest.raises(ValueError, match="options.block_size"):
        attention.build("local", 32, 4, 64, block_size="large")
    with pytest.raises(ValueError, match="options.block_size"):
        attention.build("local", 32, 4, 64, block_size=0)
