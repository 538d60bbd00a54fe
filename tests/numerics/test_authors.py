"""The recipes of protocol `authors` at tiny size: a step trains every parameter by its own group."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from lra.config.cell import PADDED, Cell
from lra.config.resolve import Arena
from lra.config.schema import Experiment
from lra.models.classifier import Classifier
from lra.training.optimizer import AdamW, by_name
from tiny import ROOT

TASKS = ["listops", "text", "retrieval", "image", "pathfinder", "pathx"]
MODELS = ["s4d", "s5", "mega"]
SIZES = {"dim": 16, "mlp_dim": 16, "layers": 2, "max_len": 64}
OPTIONS = {
    "s4d": {"state": 4},
    "s5": {"state": 16, "blocks": 2},
    "mega": {"z_dim": 8, "ema_dim": 4},
}


def recipe(task: str, model: str) -> Cell:
    """Of few features, layers and tokens, all else as resolved."""
    experiment = Experiment(
        experiment="x", protocol="authors", tasks=[task], models=[model], seeds=[0],
        profile={"lengths": [64], "batch_size": 1},
    )  # fmt: skip
    cell = Arena(ROOT, "x.yaml", experiment).resolve(task, model, 0)[0].model_dump()
    encoder = cell["encoder"] | SIZES | {"qkv_dim": 32 if model == "mega" else 16}
    encoder["options"] |= OPTIONS[model]
    return Cell(**cell | {"encoder": encoder})


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", MODELS)
def test_two_steps(model, task):
    cell = recipe(task, model)
    encoder, rules = cell.encoder, cell.training
    torch.manual_seed(0)
    net = Classifier(encoder)
    named = dict(net.named_parameters())
    optimizer = AdamW(named.items(), rules.betas, rules.eps, rules.weight_decay, rules.groups)
    tokens = torch.randint(1, encoder.vocab_size, (8, encoder.towers, 64))
    mask = None
    if task in PADDED:
        tokens[:4, :, 50:] = 0
        mask = tokens > 0
    labels = torch.arange(8) % encoder.classes
    losses = []
    for _ in range(2):
        before = {name: p.detach().clone() for name, p in named.items()}
        optimizer.zero_grad()
        loss = net.loss(cross_entropy(net(tokens, mask), labels))
        loss.backward()
        optimizer.step(rules.learning_rate)
        losses.append(loss.item())
        assert all(p.isfinite().all() and not torch.equal(p, before[n]) for n, p in named.items())
    assert losses[1] < losses[0]
    assert net.eval()(tokens, mask).isfinite().all()


@pytest.mark.parametrize("model", MODELS)
def test_the_first_step_has_each_groups_rate_and_decay(model):
    """Adam's first update is the rate times the gradient's sign, after the decay."""
    cell = recipe("image", model)
    torch.manual_seed(0)
    net = Classifier(cell.encoder).double()
    named, rules = dict(net.named_parameters()), cell.training
    optimizer = AdamW(named.items(), rules.betas, 1e-30, rules.weight_decay, rules.groups)
    start = {name: p.detach().clone() for name, p in named.items()}
    cross_entropy(net(torch.randint(256, (8, 1, 64))), torch.arange(8)).backward()
    optimizer.step(rules.learning_rate)
    names = list(named)
    for factor, decay, own in by_name(names, rules.groups, rules.weight_decay):
        rate = rules.learning_rate * factor
        for name in (names[i] for i in own):
            step = rate * named[name].grad.sign()
            assert_close(named[name].detach(), start[name] * (1 - rate * decay) - step)
