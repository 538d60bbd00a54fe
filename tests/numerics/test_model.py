"""The encoder's sizes against the official code's, and its invariances."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from lra import attention
from lra.config.cell import Encoder
from lra.config.schema import Protocol
from lra.data.split import Info, Sequences, Split
from lra.models.classifier import Classifier, parameter_count, sinusoids, without_memory
from lra.training.batches import Batches
from tiny import ENCODER, ROOT, make_cell

# google-research/long-range-arena at cd31e5c, counted from its effective configurations. Its Reformer
# and Sinkhorn are not their papers', as the mechanisms' docstrings say, so their counts differ.
COUNTS = {
    "listops": {
        "transformer": 8_948_746, "local": 8_948_746, "bigbird": 8_948_746, "linear": 8_948_746,
        "performer": 8_948_746, "sparse": 8_948_746, "longformer": 12_094_474,
        "linformer": 9_076_810, "synthesizer": 137_076_778,
    },
    "text": {
        "transformer": 3_486_722, "longformer": 4_273_154, "linformer": 3_550_786,
        "synthesizer": 19_518_738,
    },
    "retrieval": {
        "transformer": 1_087_618, "longformer": 1_284_226, "linformer": 1_343_618,
        "synthesizer": 257_087_618,
    },
    "image": {
        "transformer": 248_458, "sparse": 248_458, "bigbird": 248_458, "linear": 248_458,
        "performer": 248_458, "local": 248_202, "longformer": 545_418, "linformer": 264_858,
        "synthesizer": 8_653_458,
    },
    "pathfinder": {
        "transformer": 26_530, "local": 54_338, "sparse": 13_666, "longformer": 21_026,
        "linformer": 30_050, "synthesizer": 8_442_946, "bigbird": 87_874, "linear": 116_098,
        "performer": 26_530,
    },
    "pathx": {"transformer": 537_954},
}  # fmt: skip
CASES = [(task, model) for task, models in COUNTS.items() for model in models]
MAX_LEN = {"listops": 2000, "text": 1000, "retrieval": 4000, "image": 1024, "pathfinder": 1024,
           "pathx": 16384}  # fmt: skip


def official(task: str, model: str) -> Encoder:
    """A cell's encoder under config/protocols/official.yaml, data set aside."""
    protocol = Protocol(**yaml.safe_load((ROOT / "config/protocols/official.yaml").read_text()))
    facts = yaml.safe_load((ROOT / f"config/tasks/{task}.yaml").read_text())["encoder"]
    rules = protocol.tasks[task]
    own = rules.models.get(model)
    sizes = {**facts, **protocol.defaults.encoder, **rules.encoder, **(own.encoder if own else {})}
    sizes["max_len"] = MAX_LEN[task]
    defaults = yaml.safe_load((ROOT / f"config/models/{model}.yaml").read_text())
    options = {**defaults.get("options", {}), **(own.options if own else {})}
    sizes |= {"attention": model, "options": options}
    return Encoder(**sizes)


@pytest.mark.parametrize(("task", "model"), CASES)
def test_parameter_counts_are_the_official_ones(task, model):
    assert parameter_count(without_memory(official(task, model))) == COUNTS[task][model]


def test_the_papers_own_listops_sizes_have_its_19_9_million_parameters():
    sizes = official("listops", "transformer").model_dump()
    wide = Encoder(**{**sizes, "layers": 6, "mlp_dim": 2048})
    assert parameter_count(without_memory(wide)) == 19_983_370


@pytest.mark.parametrize("pooling", ["CLS", "MEAN", "PMA"])
@pytest.mark.parametrize("name", attention.names())
def test_scores_do_not_depend_on_padding(name, pooling):
    torch.manual_seed(0)
    if attention.build(name, 8, 1, 64).padding_exempt:
        pytest.skip(f"{name}: its docstring says why padding may matter")
    config = Encoder(**{**ENCODER, "attention": name, "layers": 2, "pooling": pooling})
    model = Classifier(config).double().eval()
    tokens = torch.randint(1, 17, (3, 1, 40))
    padded = torch.cat([tokens, torch.zeros(3, 1, 24, dtype=torch.long)], dim=2)
    assert_close(model(padded, padded > 0), model(tokens, tokens > 0))


@pytest.mark.parametrize("encoder", [
    {"pooling": "CLS"}, {"pooling": "MEAN"}, {"pooling": "PMA"},
    {"pooling": "MEAN", "mask_zero": True, "mean_over": 64},
    {"pooling": "CLS", "towers": 2, "mask_zero": True},
], ids=["CLS", "MEAN", "PMA", "hidden", "towers"])  # fmt: skip
@pytest.mark.parametrize("name", attention.names())
def test_an_empty_example_has_the_same_scores_in_every_batch(name, encoder):
    """Alone, with its like, as evaluation sorts them, and beside a long one; so has training."""
    if attention.build(name, 8, 1, 64).padding_exempt:
        pytest.skip(f"{name}: its docstring says why padding may matter")
    torch.manual_seed(0)
    cell = make_cell(encoder={**encoder, "attention": name, "layers": 2})
    towers, offsets = cell.encoder.towers, np.array([0, 0, 0, 50, 53])
    info = Info("listops", vocab_size=17, classes=10, max_length=64, pads=True)
    sequences = Sequences(np.arange(53, dtype=np.uint8) % 16 + 1, offsets)
    split = Split((sequences,) * towers, np.arange(4), info)
    batches = Batches(split, cell, torch.device("cpu"))
    model = Classifier(cell.encoder).double().eval()
    scores = [
        model(b.tokens, b.mask)[0] for b in map(batches.at, map(np.array, ([0], [0, 1], [0, 2, 3])))
    ]
    assert_close(scores[1], scores[0])
    assert_close(scores[2], scores[0])
    batch = batches.at(np.array([0, 1]))
    loss = model.train().loss(cross_entropy(model(batch.tokens, batch.mask), batch.labels))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_two_towers_share_one_encoder():
    torch.manual_seed(0)
    config = Encoder(**{**ENCODER, "towers": 2, "classes": 2, "interaction": "NLI"})
    model = Classifier(config).eval()
    tokens = torch.randint(1, 17, (3, 2, 40))
    a, b = model.encode(tokens[:, 0], None), model.encode(tokens[:, 1], None)
    features = torch.cat([a, b, a * b, a - b], dim=-1)
    assert_close(model(tokens), model.head(features))


def test_layerwise_linformer_has_one_projection_and_survives_its_file(tmp_path):
    sizes = {**ENCODER, "attention": "linformer", "layers": 3, "options": {"k": 4}}
    each = parameter_count(Classifier(Encoder(**sizes)))
    config = Encoder(**{**sizes, "options": {"k": 4, "sharing": "layerwise"}})
    assert each - parameter_count(Classifier(config)) == 2 * 4 * 64
    model = Classifier(config).eval()
    assert model.blocks[2].attention.projection is model.blocks[0].attention.projection
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "c.safetensors")
    again = Classifier(config).eval()
    again.load_state_dict(load_file(tmp_path / "c.safetensors"))
    tokens = torch.randint(1, 17, (2, 1, 40))
    assert_close(again(tokens), model(tokens), rtol=0, atol=0)


def test_a_mechanisms_own_loss_joins_the_tasks_in_training_only():
    options = {"segment": 8, "rate": 4}
    config = Encoder(**{**ENCODER, "attention": "compressive", "layers": 2, "options": options})
    model = Classifier(config)
    tokens = torch.randint(1, 17, (2, 1, 40))
    model(tokens)
    assert len(model.auxiliary) == 2
    own = sum(block.attention.auxiliary for block in model.blocks)
    assert_close(model.loss(torch.tensor(1.0)), 1 + own)
    assert own > 0
    model.eval()(tokens)
    assert model.loss(torch.tensor(1.0)) == 1


def test_reversible_layers_give_the_plain_sums_gradients():
    """y1 = x1 + attention(x2), y2 = x2 + MLP(y1), the mean of both (Kitaev et al. 2020, eq. 9)."""
    torch.manual_seed(0)
    options = {"bucket_size": 8, "hashes": 2, "reversible": True}
    config = Encoder(**{**ENCODER, "attention": "reformer", "layers": 3, "options": options})
    model = Classifier(config).double()
    tokens = torch.randint(1, 17, (2, 1, 40))

    def grads(scores):
        return torch.autograd.grad(scores.square().sum(), list(model.parameters()))

    torch.manual_seed(1)
    reverse = model(tokens)
    torch.manual_seed(1)
    one = two = model.dropout(model.embedding(tokens[:, 0]) + model.positions[:40])
    for block in model.blocks:
        one = one + block.residual_attention(two, None)
        two = two + block.residual_mlp(one)
    plain = model.head(model.norm((one + two) / 2).mean(dim=1))
    assert_close(reverse, plain)
    assert_close(grads(reverse), grads(plain))


def test_cls_is_one_more_learned_position():
    with_cls = Classifier(Encoder(**{**ENCODER, "pooling": "CLS", "positions": "learned"}))
    assert with_cls.positions.shape == (65, 32)


def test_sinusoids_are_the_official_ones():
    """Wavelengths 10,000^(2i / dim), sine and cosine in turn (common_layers.py, sinusoidal_init)."""
    table = sinusoids(100, 8)
    assert_close(table[0], torch.tensor([0.0, 1.0] * 4))
    assert_close(table[3, :2], torch.tensor([math.sin(3), math.cos(3)]))
    assert_close(table[50, 2:4], torch.tensor([math.sin(5), math.cos(5)]))  # 10,000^(2/8) is 10
    assert_close(table[50, 6], torch.tensor(math.sin(0.05)))
    assert sinusoids(9, 5).shape == (9, 5)


def test_no_positions_make_a_bag_of_tokens():
    torch.manual_seed(0)
    model = Classifier(Encoder(**{**ENCODER, "positions": "none"})).double().eval()
    tokens = torch.randint(1, 17, (2, 1, 40))
    assert_close(model(tokens), model(tokens.flip(2)))
    assert "positions" not in dict(model.named_parameters())


@pytest.mark.parametrize("std", [0.02, 1.0])
def test_embeddings_and_positions_start_at_their_scale(std):
    torch.manual_seed(0)
    sizes = {"dim": 64, "positions": "learned", "max_len": 500, "vocab_size": 257}
    config = Encoder(**{**ENCODER, **sizes, "embedding_std": std, "position_std": std / 2})
    model = Classifier(config)
    assert model.embedding.weight.std().item() == pytest.approx(std, rel=0.05)
    assert model.positions.std().item() == pytest.approx(std / 2, rel=0.05)


def test_a_hidden_zero_is_no_token():
    """mask_zero hides token 0 wherever it stands: what such positions hold changes nothing."""
    torch.manual_seed(0)
    config = Encoder(**{**ENCODER, "mask_zero": True, "positions": "none"})
    model = Classifier(config).double().eval()
    tokens = torch.randint(1, 17, (2, 1, 40))
    holes = torch.zeros(2, 1, 60, dtype=torch.long)
    holes[..., torch.arange(60)[torch.arange(60) % 3 != 0]] = tokens
    assert_close(model(holes), model(tokens))
    assert model(torch.zeros_like(tokens)).isfinite().all()
    seen = Classifier(config.model_copy(update={"mask_zero": False})).double().eval()
    seen.load_state_dict(model.state_dict())
    assert not torch.allclose(seen(holes), seen(tokens))


def test_what_a_mean_is_over():
    torch.manual_seed(0)
    x, mask = torch.randn(2, 6, 4), torch.arange(6) < torch.tensor([[4], [6]])
    mean = {
        over: Classifier(Encoder(**{**ENCODER, "mean_over": over})).mean
        for over in ("real", "all", 10)
    }
    assert_close(mean["real"](x, mask)[0], x[0, :4].mean(0))
    assert_close(mean["all"](x, mask), x.mean(1))
    assert_close(mean[10](x, mask)[0], x[0, :4].sum(0) / 10)
    assert_close(mean[10](x, None), x.sum(1) / 10)


@pytest.mark.parametrize(("layers", "towers"), [(1, 1), (2, 1), (3, 2)])
def test_the_head_has_as_many_layers_as_it_says(layers, towers):
    sizes = {"head_layers": layers, "towers": towers, "mlp_dim": 20}
    linear = list(Classifier(Encoder(**{**ENCODER, **sizes})).head[::2])
    widths = [towers * ENCODER["dim"], 20, 10][:layers] + [ENCODER["classes"]]
    assert [(m.in_features, m.out_features) for m in linear] == [*pairwise(widths)]


def test_torchs_initialisation_leaves_layers_as_torch_made_them():
    torch.manual_seed(0)
    ours = Classifier(Encoder(**{**ENCODER, "init": "torch"})).blocks[0].mlp[0]
    bound = ENCODER["dim"] ** -0.5
    assert ours.bias.abs().max() <= bound and ours.bias.std() > bound / 3
    assert ours.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert Classifier(Encoder(**ENCODER)).blocks[0].mlp[0].bias.std() < 1e-5


@pytest.mark.parametrize(("gelu", "kind"), [("tanh", "tanh"), ("exact", "none")])
def test_the_kind_of_gelu_and_the_norms_epsilon(gelu, kind):
    model = Classifier(Encoder(**{**ENCODER, "gelu": gelu, "norm_eps": 1e-3}))
    assert model.blocks[0].mlp[1].approximate == kind
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {m.eps for m in norms} == {1e-3}


@pytest.mark.parametrize("name", attention.names())
def test_bfloat16_autocast_is_close_to_float32(name):
    torch.manual_seed(0)
    model = Classifier(Encoder(**{**ENCODER, "attention": name})).eval()
    tokens = torch.randint(1, 17, (4, 1, 50))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(tokens).float()
    assert half.isfinite().all()
    assert_close(half, model(tokens), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("name", ["transformer", "linear", "sinkhorn"])
@pytest.mark.parametrize("pooling", ["MEAN", "CLS"])
def test_a_document_is_encoded_once_for_all_its_pairs(name, pooling):
    """Two towers, not cross-attention: no document's encoding depends on its partner."""
    torch.manual_seed(0)
    sizes = {"attention": name, "towers": 2, "classes": 2, "pooling": pooling}
    model = Classifier(Encoder(**{**ENCODER, **sizes})).double().eval()
    documents = torch.randint(1, 17, (5, 40))
    documents[:, 30:] *= torch.tensor([0, 1, 1, 0, 1])[:, None]  # of two lengths
    once = model.encode(documents, documents > 0)
    one, two = torch.triu_indices(5, 5)
    pairs = torch.stack([documents[one], documents[two]], dim=1)
    encoded = torch.stack([once[one], once[two]], dim=1)
    assert_close(model(pairs, pairs > 0), model.classify(encoded))
