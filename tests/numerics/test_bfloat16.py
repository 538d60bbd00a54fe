"""Mixed precision: bfloat16 products by autocast, float32 parameters, statistics and sums."""

from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from lra import attention
from lra.config.cell import Encoder
from lra.models.classifier import Classifier
from lra.training.optimizer import AdamW
from oracles import OPTIONS
from precision import DISCRETE, TOLERANCE, TOLERANCES, apart, step
from tiny import ENCODER, slow

LENGTH = 300
CAUSAL = [(n, {"causal": True}) for n in attention.names() if attention.info(n).causal]
EVERY = pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in attention.names()), *slow([*CAUSAL, *OPTIONS])],
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)
# What must not be computed from bfloat16: sums, exponents and feature maps. Fused and plain softmax
# and norms have float32 inside, whatever they are given.
STATISTICS = {"cumsum", "elu", "exp", "linalg_vector_norm", "log", "logsumexp", "mean", "rsqrt"}
# but for these: scores are bfloat16 where no fused kernel takes them
OF_SCORES = {
    "reformer": {"exp"},
    "strided": {"exp"},
    "compressive": {"sum"},  # of the auxiliary loss's gradient, over the slots
    "official": {"sum"},  # Sinkhorn's keys and values
}


@pytest.mark.parametrize("masked", [True, *slow([False])], ids=["masked", "whole"])
@EVERY
def test_outputs_and_gradients_are_near_float32(name, options, masked):
    torch.manual_seed(0)
    # what is dropped goes with the order of tokens, which changes with a bucket
    drop = 0.0 if TOLERANCES.get(name) is DISCRETE else 0.1
    module = attention.build(name, 64, 4, LENGTH, dropout=drop, **options).train()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    x, mask = torch.randn(2, LENGTH, 64), None
    if masked:
        mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH - 70]])
    full = step(module, x, mask, half=False)
    module.load_state_dict(state)  # routing's centroids move
    half = step(module, x, mask, half=True)
    errors = [apart(*pair) for pair in zip(half, full, strict=True)]
    print(name, options, errors)
    assert all(e < t for e, t in zip(errors, TOLERANCES.get(name, TOLERANCE), strict=True))
    assert {t.dtype for t in module.state_dict().values() if t.is_floating_point()} == {
        torch.float32
    }


@pytest.mark.parametrize("name", attention.names())
@pytest.mark.parametrize("scale", [30.0, 1e-3], ids=["large", "small"])
def test_nothing_overflows(name, scale):
    torch.manual_seed(0)
    module = attention.build(name, 64, 4, LENGTH).train()
    out, grads = step(module, scale * torch.randn(2, LENGTH, 64), None, half=True)
    assert out.isfinite().all() and grads.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("name", attention.names())
def test_the_loss_falls(name):
    """On one batch, with dropout everywhere."""
    torch.manual_seed(0)
    model = Classifier(Encoder(**{**ENCODER, "attention": name, "max_len": 150}))
    optimizer = AdamW(model.named_parameters())
    tokens, labels = torch.randint(1, 17, (8, 1, 150)), torch.arange(8)
    losses = []
    for _ in range(12):
        with torch.autocast("cpu", torch.bfloat16):
            scores = model(tokens, torch.ones_like(tokens, dtype=torch.bool)).float()
        loss = model.loss(cross_entropy(scores, labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(5e-3)
        losses.append(loss.item())
    print(name, losses)
    assert min(losses[-3:]) < 0.93 * losses[0]
    every = [*model.parameters(), *optimizer.means, *optimizer.squares]
    assert all(t.dtype == torch.float32 and t.isfinite().all() for t in every)


class Types(TorchDispatchMode):
    """The types that statistics are computed from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__.removesuffix("_")
        if name in STATISTICS and args[0].is_floating_point():
            self.found[name].add(args[0].dtype)
        if name == "sum" and args[0].is_floating_point():
            self.found[name].add(out.dtype)
        return out


@EVERY
def test_statistics_stay_float32(name, options):
    torch.manual_seed(0)
    module = attention.build(name, 64, 4, LENGTH, **options).train()
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH - 70]])
    with torch.autocast("cpu", torch.bfloat16), Types() as types:
        module(torch.randn(2, LENGTH, 64), mask)
    half = {key for key, found in types.found.items() if torch.bfloat16 in found}
    assert half <= OF_SCORES.get(options.get("pattern") or options.get("variant") or name, set())
