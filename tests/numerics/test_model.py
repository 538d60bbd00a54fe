"""The encoder's sizes against the official code's, and its invariances."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch.testing import assert_close

from lra import attention
from lra.cell import Encoder
from lra.config import Protocol
from lra.model import Classifier, parameter_count, sinusoids
from tiny import ENCODER, ROOT

# google-research/long-range-arena at cd31e5c, counted from its effective configurations
COUNTS = {
    ("listops", "transformer"): 8_948_746,
    ("listops", "local"): 8_948_746,
    ("listops", "linear"): 8_948_746,
    ("text", "transformer"): 3_486_722,
    ("retrieval", "transformer"): 1_087_618,
    ("image", "transformer"): 248_458,
    ("image", "local"): 248_202,
    ("image", "linear"): 248_458,
    ("pathfinder", "transformer"): 26_530,
    ("pathfinder", "local"): 54_338,
    ("pathfinder", "linear"): 116_098,
    ("pathx", "transformer"): 537_954,
}
MAX_LEN = {"listops": 2000, "text": 1000, "retrieval": 4000, "image": 1024, "pathfinder": 1024,
           "pathx": 16384}  # fmt: skip


def official(task: str, model: str) -> Encoder:
    """A cell's encoder under config/protocols/official.yaml, data set aside."""
    protocol = Protocol(**yaml.safe_load((ROOT / "config/protocols/official.yaml").read_text()))
    facts = yaml.safe_load((ROOT / f"config/tasks/{task}.yaml").read_text())["encoder"]
    rules = protocol.tasks[task]
    own = rules.models[model].encoder if model in rules.models else {}
    sizes = {**facts, **rules.encoder, **own, "max_len": MAX_LEN[task], "attention": model}
    return Encoder(**sizes)


@pytest.mark.parametrize(("task", "model"), COUNTS)
def test_parameter_counts_are_the_official_ones(task, model):
    assert parameter_count(official(task, model)) == COUNTS[task, model]


def test_the_papers_own_listops_sizes_have_its_19_9_million_parameters():
    sizes = official("listops", "transformer").model_dump()
    wide = Encoder(**{**sizes, "layers": 6, "mlp_dim": 2048})
    assert parameter_count(wide) == 19_983_370


@pytest.mark.parametrize("pooling", ["CLS", "MEAN"])
@pytest.mark.parametrize("name", attention.names())
def test_scores_do_not_depend_on_padding(name, pooling):
    torch.manual_seed(0)
    config = Encoder(**{**ENCODER, "attention": name, "layers": 2, "pooling": pooling})
    model = Classifier(config).double().eval()
    tokens = torch.randint(1, 17, (3, 40))
    padded = torch.cat([tokens, torch.zeros(3, 24, dtype=torch.long)], dim=1)
    assert_close(model(padded, padded > 0), model(tokens, tokens > 0))


def test_two_towers_share_one_encoder():
    torch.manual_seed(0)
    config = Encoder(**{**ENCODER, "towers": 2, "classes": 2, "interaction": "NLI"})
    model = Classifier(config).eval()
    one, two = torch.randint(1, 17, (2, 3, 40))
    a, b = model.encode(one, None), model.encode(two, None)
    features = torch.cat([a, b, a * b, a - b], dim=-1)
    assert_close(model((one, two)), model.head(features))


def test_cls_is_one_more_learned_position():
    with_cls = Classifier(Encoder(**{**ENCODER, "pooling": "CLS", "positions": "learned"}))
    assert with_cls.positions.shape == (65, 32)


def test_sinusoids_are_the_official_ones():
    table = sinusoids(100, 8)
    assert_close(table[3, 0], torch.tensor(3.0).sin())
    assert_close(table[3, 4], torch.tensor(3.0).cos())
    assert_close(table[50, 3], torch.tensor(50 / 10_000).sin())
    assert_close(table[0], torch.tensor([0.0] * 4 + [1.0] * 4))


@pytest.mark.parametrize("name", attention.names())
def test_bfloat16_autocast_is_close_to_float32(name):
    torch.manual_seed(0)
    model = Classifier(Encoder(**{**ENCODER, "attention": name})).eval()
    tokens = torch.randint(1, 17, (4, 50))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(tokens).float()
    assert half.isfinite().all()
    assert_close(half, model(tokens), atol=0.1, rtol=0.1)
