"""A causal layer or model by steps is its parallel form; a new mechanism is tested by itself."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lra import attention
from lra.attention import steps
from lra.config.cell import Encoder
from lra.core.errors import LRAError
from lra.models.decode import Decoder
from lra.models.token_model import TokenModel
from lra.results import fingerprint
from oracles import OPTIONS, layer, tokens
from tiny import ENCODER, slow

CAUSAL = [name for name in attention.names() if attention.info(name).causal]
N = 45  # no multiple of any size below
SMALL = {  # so that blocks, windows and memories roll over within N tokens
    "local": {"block_size": 8},
    "longformer": {"window": 8},
    "image": {"block_size": 8, "halo": 4},
    "sparse": {"stride": 8, "summary": 3},
    "xl": {"segment": 8, "memory_segments": 2},
    "compressive": {"segment": 8, "rate": 4},
    "mega": {"truncation": 8},
}
MORE = [
    ("rotary", {"positions": "alibi"}),
    ("mega", {"truncation": None, "function": "laplace", "relative": "rotary"}),
    ("mega", {"chunk": 8}),
    ("image", {"shape": "2d", "width": 7, "block_height": 2, "block_width": 3, "halo_height": 1, "halo_width": 1}),
    ("image", {"shape": "2d", "width": 11, "block_height": 2, "block_width": 4, "halo_height": 3, "halo_width": 5}),
    ("sparse", {"pattern": "strided"}),
    ("conv", {"width": 1}),
    ("deltanet", {"gate": True}),
    ("deltanet", {"conv": 1}),
    ("deltanet", {"conv": None}),
    ("retention", {"decay": "gated", "expand": 2}),
    ("s5", {"variant": "lru"}),
    ("s5", {"blocks": 2, "state": 8, "projections": False}),
    ("s4d", {"projections": False}),
    ("compressive", {"compression": "max", "compressed_segments": 1, "rate": 8}),
    ("synthesizer", {"mode": "factorised-dense+dot", "mixture": "learnt"}),
]  # fmt: skip
EACH = [
    (name, option) for name, option in OPTIONS
    if name in CAUSAL and "official-cls" not in option.values()
    and (name, option) not in [("reformer", {"variant": "official"}), ("performer", {"redraw": "call"})]
]  # fmt: skip


def causal_layer(name, options=None, **also):
    return layer(
        name,
        2,
        8,
        **{"max_len": 67, "causal": True, **SMALL.get(name, {}), **(options or {}), **also},
    )


def one_by_one(form, x, state):
    """Outputs of the tokens x (B, N, dim) by steps, and the last state"""
    outs = []
    for token in x.split(1, dim=1):
        y, state = form.step(token, state)
        outs.append(y)
    return torch.cat(outs, dim=1), state


def parallel(module, x):
    """What a step is to give: the parallel form, or where later tokens change what earlier ones
    see, each token's as the last one."""
    if not module.selects:
        return module(x)
    return torch.cat([module(x[:, : n + 1])[:, -1:] for n in range(x.shape[1])], dim=1)


@pytest.mark.parametrize("first", [0, 24])
@pytest.mark.parametrize("name", CAUSAL)
def test_steps_are_the_parallel_form(name, first):
    """From no state, or from that of the first tokens in parallel; bytes are those of the tensors."""
    module = causal_layer(name)
    form, x = steps.build(module, 16), tokens(2, N, 16)
    state = form.start(2)
    if first:
        y, state = form.prefill(x[:, :first])
        assert_close(y, module(x[:, :first]), rtol=1e-10, atol=1e-12)
        grows = 2 * form.state_bytes(64) > state.bytes
        assert grows == (steps.kind(name) in ("cache", "recomputed"))
    assert (state.n, state.bytes) == (first, 2 * form.state_bytes(first))
    y, state = one_by_one(form, x[:, first:], state)
    assert (state.n, state.bytes) == (N, 2 * form.state_bytes(N))
    assert_close(y, parallel(module, x)[:, first:], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), [*MORE, *slow(EACH)], ids=str)
def test_steps_are_the_parallel_form_with_each_option(name, options):
    module = causal_layer(name, options)
    form, x = steps.build(module, 16), tokens(2, N, 16)
    expected = parallel(module, x)
    for first in (0, 21):
        state = form.prefill(x[:, :first])[1] if first else form.start(2)
        y, _ = one_by_one(form, x[:, first:], state)
        assert_close(y, expected[:, first:], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", CAUSAL)
def test_float32_steps_stay_close_over_a_long_sequence(name):
    module = causal_layer(name, max_len=515).float()
    x = tokens(1, 513, 16).float()
    form = steps.build(module, 16)
    y, _ = one_by_one(form, x[:, 480:], form.prefill(x[:, :480])[1])
    expected = module(x[:, :481] if module.selects else x)[:, 480:]
    y = y[:, : expected.shape[1]]  # of the first step alone, where later tokens change it
    assert (y - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("name", [n for n in attention.names() if n not in CAUSAL])
def test_what_is_not_causal_has_no_steps(name):
    with pytest.raises(LRAError, match=f"attention '{name}' is not causal here"):
        steps.build(layer(name, 2, 8), 16)


def test_a_layer_that_is_not_causal_has_no_steps():
    with pytest.raises(LRAError, match="attention 'linear' is not causal here"):
        steps.build(layer("linear", 2, 8), 16)


def test_features_that_each_call_draws_have_no_steps():
    with pytest.raises(LRAError, match="options.redraw: 'call' draws other features at each call"):
        steps.build(causal_layer("performer", {"redraw": "call"}), 16)


def test_no_training_depends_on_a_step_form():
    found = fingerprint.modules("lra.training.loop", *(f"lra.attention.{name}" for name in CAUSAL))
    assert not [module for module in found if "steps" in module]


def model(**changes) -> TokenModel:
    torch.manual_seed(0)
    name = changes.get("attention", "transformer")
    given = {**ENCODER, "layers": 2, "options": SMALL.get(name, {}), **changes}
    built = TokenModel(Encoder(**given), causal=True).double().eval()
    for parameter in built.parameters():  # so that no norm and no bias does nothing
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return built


def agree(built: TokenModel, n: int = 14, first: int = 9) -> None:
    ids = torch.randint(1, 17, (2, n), generator=torch.Generator().manual_seed(1))
    if built.blocks[0].attention.selects:
        expected = torch.stack([built(ids[:, None, : i + 1])[:, 0, -1] for i in range(n)], dim=1)
    else:
        expected = built(ids[:, None])[:, 0]
    decoder = Decoder(built)
    for begun in (0, first):
        scores, states = decoder.prefill(ids[:, :begun]) if begun else (None, decoder.start(2))
        if begun:
            assert_close(scores, expected[:, begun - 1], rtol=1e-9, atol=1e-10)
        for i in range(begun, n):
            scores, states = decoder.step(ids[:, i], states)
            assert_close(scores, expected[:, i], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CAUSAL)
def test_a_model_by_steps_has_the_scores_of_the_parallel_one(name):
    one = attention.info(name).family == "learnable pattern"  # in which later tokens change all
    agree(model(attention=name, layers=1 if one else 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_place": "post"},
        {"norm": "scale", "positions": "learned", "final_norm": False},
        {"norm": "batch", "block": "half_glu2"},
        {"block": "glu", "norm_place": "post", "positions": "none"},
        {"pooling": "CLS"},
        {"attention": "mega", "norm_place": "post"},
    ],
    ids=str,
)
def test_every_kind_of_block_goes_by_steps(changes):
    agree(model(**changes))


def test_the_bytes_of_a_model_are_those_of_all_its_layers_with_the_cls_token():
    decoder = Decoder(model(pooling="CLS"))
    _, states = decoder.prefill(torch.ones(1, 5, dtype=torch.long))
    assert decoder.state_bytes(5) == sum(state.bytes for state in states) == 2 * 2 * 6 * 32 * 8


def test_a_model_has_positions_for_so_many_tokens():
    decoder = Decoder(model(max_len=3))
    states = decoder.start(1)
    for _ in range(3):
        _, states = decoder.step(torch.tensor([1]), states)
    with pytest.raises(LRAError, match="max_len: the model has positions for 3 tokens"):
        decoder.step(torch.tensor([1]), states)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"attention": "reformer", "options": {"reversible": True}}, "options.reversible: a model"),
        ({"mask_zero": True}, "mask_zero: a model that hides tokens has no steps"),
    ],
)
def test_models_without_steps_say_so(changes, line):
    with pytest.raises(LRAError, match=line):
        Decoder(model(**changes))
