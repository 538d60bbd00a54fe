"""No mechanism dispatches an operator that raises on CUDA where deterministic ones are demanded."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lra import attention
from lra.config.cell import Encoder
from lra.models.classifier import Classifier
from oracles import OPTIONS, gradients, holes
from tiny import ENCODER

# By torch 2.13's documentation of `use_deterministic_algorithms`. Of NLLLoss it is the loss of
# images, not that of (B, classes); of cumsum, median and scatter_reduce see `raises`.
RAISING = {
    "avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward", "max_unpool2d", "max_unpool3d", "upsample_linear1d_backward",
    "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "upsample_trilinear3d_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward",
    "nll_loss2d_forward", "nll_loss2d_backward", "_ctc_loss_backward", "_embedding_bag_backward",
    "put", "put_", "histc", "bincount", "median", "nanmedian", "grid_sampler_2d_backward",
    "grid_sampler_3d_backward", "cumsum", "cumsum_", "scatter_reduce", "scatter_reduce_",
}  # fmt: skip
CAUSAL = [(n, {"causal": True}) for n in attention.names() if attention.info(n).causal]


def raises(name: str, args: tuple) -> bool:
    if name.startswith("cumsum"):
        return args[0].is_floating_point()
    if name.startswith("scatter_reduce"):
        return args[4] == "prod"
    return name in RAISING and not (name.endswith("median") and len(args) == 1)


class Refused(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket.__name__
        if raises(name, args):
            self.found.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in attention.names()), *CAUSAL, *OPTIONS],
    ids=lambda x: x if isinstance(x, str) else "-".join(map(str, x.values())),
)
def test_mechanisms(name, options):
    torch.manual_seed(0)
    module = attention.build(name, 16, 2, 300, dropout=0.1, **options)
    module.by_head = lambda x: False  # as on a GPU
    for training, mask in ((True, None), (True, holes(2, 300)), (False, None)):
        with Refused() as refused:
            gradients(module.train(training), torch.randn(2, 300, 16), mask)
        assert refused.found == set()


@pytest.mark.parametrize("changed", [
    {"pooling": "CLS"}, {"pooling": "MEAN"}, {"pooling": "PMA"},
    {"norm": "batch", "block": "glu", "tied_dropout": True}, {"norm": "scale", "activation": "silu"},
], ids=lambda changed: "-".join(map(str, changed.values())))  # fmt: skip
def test_the_classifier_and_its_loss(changed):
    model = Classifier(Encoder(**{**ENCODER, **changed}))
    tokens = torch.randint(1, 17, (4, 1, 50))
    with Refused() as refused:
        loss = torch.nn.functional.cross_entropy(model(tokens, tokens > 3), torch.arange(4))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert refused.found == set()


@pytest.mark.parametrize(
    "operate",
    [
        lambda x: x.cumsum(0),
        lambda x: x.median(0),
        lambda x: torch.nn.functional.interpolate(x[None], size=9, mode="linear"),
        lambda x: torch.nn.functional.pad(x, (1, 1), mode="reflect"),
        lambda x: x.scatter_reduce(0, torch.zeros(3, 4, dtype=torch.long), x, "prod"),
    ],
)
def test_what_raises_is_seen(operate):
    x = torch.randn(3, 4, requires_grad=True)
    with Refused() as refused:
        out = operate(x)
        (out if isinstance(out, torch.Tensor) else out[0]).sum().backward()
    assert refused.found
