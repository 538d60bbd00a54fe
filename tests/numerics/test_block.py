"""Layers of the encoder by their definitions: pre- and post-norm, GLUs, dropout, grey values."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu, layer_norm, silu
from torch.testing import assert_close

from lra.config.cell import Encoder
from lra.models.block import GLU, Block, TiedDropout
from lra.models.classifier import Classifier
from oracles import holes, layer, tokens
from tiny import ENCODER

SIZES = {**ENCODER, "dropout": 0.0, "attention_dropout": 0.0, "gelu": "exact"}


def block(**changed) -> Block:
    torch.manual_seed(0)
    return Block(Encoder(**{**SIZES, **changed}), 64).double()


def normed(x):
    return layer_norm(x, x.shape[-1:], eps=1e-6)


@pytest.mark.parametrize("place", ["pre", "post"])
def test_a_block_with_an_mlp(place):
    each, x, mask = block(norm_place=place), tokens(2, 20, 32), holes(2, 20)
    first, _, _, last, _ = each.mlp

    def mlp(x):
        return last(gelu(first(x)))

    if place == "pre":
        y = x + each.attention(normed(x), mask)
        expected = y + mlp(normed(y))
    else:
        y = normed(x + each.attention(x, mask))
        expected = normed(y + mlp(y))
    assert_close(each(x, mask), expected)


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("kind", ["glu", "half_glu1", "half_glu2"])
def test_a_block_with_a_glu_has_one_residual_and_no_mlp(kind, place):
    each, x, mask = block(block=kind, norm_place=place), tokens(2, 20, 32), holes(2, 20)
    mixed = each.attention(normed(x) if place == "pre" else x, mask)
    g = gelu(mixed)
    gate = torch.sigmoid(each.glu.gate(g))
    value = {"glu": lambda: each.glu.value(g), "half_glu1": lambda: g, "half_glu2": lambda: mixed}
    out = x + value[kind]() * gate
    assert_close(each(x, mask), out if place == "pre" else normed(out))
    names = {name.split(".")[0] for name, _ in each.named_parameters()}
    assert names == {"attention_norm", "attention", "glu"}


def test_s4s_glu_is_torchs():
    """Linear to twice the width, then GLU (state-spaces/s4 at e757cef: s4block.py:129)."""
    torch.manual_seed(0)
    glu, x = GLU(Encoder(**{**SIZES, "block": "glu"})).double(), tokens(2, 5, 32)
    weight = torch.cat([glu.value.weight, glu.gate.weight])
    bias = torch.cat([glu.value.bias, glu.gate.bias])
    assert_close(glu(x), torch.nn.functional.glu(gelu(x) @ weight.T + bias))


@pytest.mark.parametrize("place", ["pre", "post"])
def test_mega_gates_the_stream_and_not_what_a_norm_makes_of_it(place):
    """Equation 15, u h + (1 - u) x: the mechanism is u h - u s, of which u s is found by s = 1."""
    each, x, mask = block(attention="mega", norm_place=place), tokens(2, 20, 32), holes(2, 20)
    each.mlp = None
    given = normed(x) if place == "pre" else x
    nothing = torch.zeros_like(x)
    gated = each.attention(given, mask, nothing)  # u h
    update = gated - each.attention(given, mask, nothing + 1)
    out = gated + (1 - update) * x
    assert_close(each(x, mask), out if place == "pre" else normed(out))
    assert_close(each.attention(x, mask), each.attention(x, mask, x))


@pytest.mark.parametrize("name", ["s4d", "s5"])
def test_state_spaces_without_projections_are_the_authors_layers(name):
    """With projections that are the identity, the layer is GELU of the one without them."""
    whole, bare = layer(name, 2, 8), layer(name, 2, 8, projections=False)
    x, mask = tokens(2, 20, 16), holes(2, 20)
    with torch.no_grad():
        for projection in (whole.value, whole.out):
            projection.weight.copy_(torch.eye(16))
    own = {key: value for key, value in whole.state_dict().items() if key in bare.state_dict()}
    bare.load_state_dict(own)
    assert_close(gelu(bare(x, mask)), whole(x, mask))
    assert not {"value.weight", "out.weight"} & own.keys()


def test_the_mlp_with_silu():
    each, x = block(activation="silu"), tokens(2, 20, 32)
    assert_close(each.mlp(x), each.mlp[3](silu(each.mlp[0](x))))


def test_tied_dropout_drops_a_feature_of_a_whole_sequence():
    torch.manual_seed(0)
    x = tokens(50, 7, 40)
    out = TiedDropout(0.3)(x)
    kept = out != 0
    assert (kept.all(1) | ~kept.any(1)).all()
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.03)
    assert_close(out[kept], (x / 0.7)[kept])
    assert not (kept.all(1) == kept.all(1)[:1]).all()  # sequences by themselves
    assert_close(TiedDropout(0.3).eval()(x), x)


def test_every_dropout_of_a_tied_encoder_is_tied_and_the_embeddings_have_their_own_rate():
    sizes = {**ENCODER, "tied_dropout": True, "embedding_dropout": 0.0}
    model = Classifier(Encoder(**sizes))
    rates = {type(m): m.p for m in model.blocks.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {TiedDropout: 0.1}
    assert model.dropout.p == 0.0
    assert Classifier(Encoder(**ENCODER)).dropout.p == 0.1


def test_no_final_norm_is_none():
    model = Classifier(Encoder(**{**SIZES, "final_norm": False})).double().eval()
    x = torch.randint(1, 17, (2, 1, 40))
    each = model.blocks[0](model.embedding(x[:, 0]) + model.positions[:40], None)
    assert_close(model(x), model.head(each.mean(1)))
    assert "norm.weight" not in model.state_dict()


def test_the_head_with_gelu():
    head = Classifier(Encoder(**{**SIZES, "head_gelu": True})).head
    x = torch.randn(3, 32)
    assert_close(head(x), head[2](gelu(head[0](x))))


def test_grey_values_are_scaled_and_mapped():
    sizes = {"vocab_size": 256, "pixels": [0.48, 0.24], "embedding_std": 2.0, "dim": 512,
             "qkv_dim": 512}  # fmt: skip
    torch.manual_seed(0)
    embedding = Classifier(Encoder(**{**ENCODER, **sizes})).embedding
    assert embedding.weight.std().item() == pytest.approx(2.0, rel=0.1)
    torch.nn.init.normal_(embedding.bias)
    pixels = torch.tensor([[0, 255, 128]], dtype=torch.int32)
    scaled = (torch.tensor([0.0, 1.0, 128 / 255]) - 0.48) / 0.24
    assert_close(embedding(pixels)[0], scaled[:, None] * embedding.weight + embedding.bias)


def test_grey_values_need_pixels():
    with pytest.raises(ValueError, match="pixels: the tokens of this task are no grey values"):
        Encoder(**{**ENCODER, "pixels": [0.5, 0.5]})
