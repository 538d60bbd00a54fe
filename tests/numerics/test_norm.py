"""Batch norm over real tokens against torch's on the tokens that a mask leaves; Mega's scale norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lra.config.cell import Encoder
from lra.models.classifier import Classifier, parameter_count
from lra.models.norm import BatchNorm, ScaleNorm
from lra.training import loop
from lra.training.checkpoint import Work
from lra.training.signals import Stop
from oracles import holes, tokens
from tiny import ENCODER, make_cell

BATCH = {"norm": "batch", "norm_eps": 1e-5}


def pair(momentum: float = 0.1) -> tuple[BatchNorm, nn.BatchNorm1d]:
    """Ours and torch's, in float64 with the same weights."""
    torch.manual_seed(0)
    ours, theirs = BatchNorm(6, 1e-5, momentum), nn.BatchNorm1d(6, eps=1e-5, momentum=momentum)
    for norm in (ours, theirs):
        norm.double()
    with torch.no_grad():
        for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
            two.copy_(one.normal_())
    return ours, theirs


@pytest.mark.parametrize("momentum", [0.1, 0.05])
@pytest.mark.parametrize("masked", [True, False], ids=["holes", "no mask"])
def test_batch_norm_is_torchs_on_the_real_tokens(masked, momentum):
    """Outputs, gradients and running values over several steps, then evaluation."""
    ours, theirs = pair(momentum)
    for length in (40, 7, 23):
        mask = holes(3, length) if masked else None
        real = torch.ones(3, length, dtype=torch.bool) if mask is None else mask
        x, y = (tokens(3, length, 6).mul(5).add(2).requires_grad_() for _ in range(2))
        one, two = ours(x, mask)[real], theirs(y[real])
        assert_close(one, two)
        weights = torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one)
        grads = [
            torch.autograd.grad((out * weights).sum(), [into, *norm.parameters()])
            for out, into, norm in ((one, x, ours), (two, y, theirs))
        ]
        assert_close(grads[0], grads[1])
        assert_close(ours.running_mean, theirs.running_mean)
        assert_close(ours.running_var, theirs.running_var)
    ours.eval(), theirs.eval()
    assert_close(ours(x, mask)[real], theirs(y[real]))


def test_what_padding_holds_changes_no_statistics():
    one, two = pair()[0], pair()[0]
    x, mask = tokens(3, 20, 6), holes(3, 20)
    other = x.masked_fill(~mask[:, :, None], 1e9)
    assert_close(one(x, mask)[mask], two(other, mask)[mask], rtol=0, atol=0)
    assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)


def test_a_batch_without_a_real_token_moves_nothing_and_stays_finite():
    norm, _ = pair()
    norm(tokens(2, 9, 6), holes(2, 9))
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    assert norm(tokens(2, 9, 6), torch.zeros(2, 9, dtype=torch.bool)).isfinite().all()
    assert_close(norm.state_dict(), before, rtol=0, atol=0)
    assert norm(tokens(1, 1, 6), None).isfinite().all()  # one token: no unbiased variance


def test_statistics_are_exact_under_bfloat16():
    ours, theirs = (norm.float() for norm in pair())
    x = tokens(2, 50, 6).bfloat16() + 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = ours(x)
    theirs(x.float().flatten(0, 1))
    assert out.dtype == torch.bfloat16 and ours.running_mean.dtype == torch.float32
    assert_close(ours.running_mean, theirs.running_mean)
    assert_close(ours.running_var, theirs.running_var)


def test_scale_norm_divides_by_the_root_of_the_mean_square():
    norm = ScaleNorm(1e-5).double()
    nn.init.constant_(norm.weight, 3.0)
    x = tokens(2, 5, 8)
    assert_close(norm(x), 3 * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt())
    assert norm.weight.numel() == 1


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("block", ["mlp", "glu"])
def test_scores_of_a_batch_normed_encoder_do_not_depend_on_padding(block, place):
    """Neither in training, where the batch's statistics count, nor in evaluation."""
    config = Encoder(
        **{**ENCODER, **BATCH, "layers": 2, "block": block, "norm_place": place, "dropout": 0.0,
           "attention_dropout": 0.0}
    )  # fmt: skip
    torch.manual_seed(0)
    one, two = Classifier(config).double(), Classifier(config).double()
    two.load_state_dict(one.state_dict())
    short = torch.randint(1, 17, (3, 1, 40))
    short[0, :, 25:] = 0
    long = torch.cat([short, torch.zeros(3, 1, 24, dtype=torch.long)], dim=2)
    for _ in range(3):
        assert_close(one(short, short > 0), two(long, long > 0))
    assert_close(one.state_dict(), two.state_dict())
    one.eval(), two.eval()
    assert_close(one(short, short > 0), two(long, long > 0))
    alone = one(short[:1, :, :25], short[:1, :, :25] > 0)
    assert_close(alone, two(long, long > 0)[:1])  # and no example on its batch


def test_running_values_are_saved_and_are_no_parameters():
    config = Encoder(**{**ENCODER, **BATCH})
    state = Classifier(config).state_dict()
    assert {"blocks.0.attention_norm.running_mean", "norm.running_var"} <= state.keys()
    assert parameter_count(Classifier(config)) == parameter_count(Classifier(Encoder(**ENCODER)))


class StopAfter(Stop):
    """A signal comes at the n-th validation batch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    def check(self) -> None:
        self.batches -= 1
        if self.batches == 0:
            self.note(15, None)
        super().check()


def test_a_resumed_training_has_the_same_bits(tiny_listops, tmp_path):
    cell = make_cell(encoder={**BATCH, "block": "glu", "tied_dropout": True})

    def train(name, stop=None):
        work = Work(tmp_path / name, "key", lambda line: None)
        return loop.train(cell, tiny_listops, work, lambda line: None, stop=stop)

    whole = train("whole")
    assert train("stopped", StopAfter(6)).status == "stopped"
    again = train("stopped")
    assert again.status == "ok"
    assert all(torch.equal(again.weights[key], whole.weights[key]) for key in whole.weights)
    assert not torch.equal(whole.weights["norm.running_mean"], torch.zeros(32))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"norm": "batch"}, "norm: reversible layers have no 'batch'; choose 'layer'"),
        ({"norm_place": "post"}, "norm_place: reversible layers have no 'post'; choose 'pre'"),
        ({"block": "half_glu1"}, "block: reversible layers have no 'half_glu1'; choose 'mlp'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_reversible_layers_refuse_what_they_cannot(changed, said):
    options = {"attention": "reformer", "options": {"reversible": True}}
    with pytest.raises(ValueError, match=said):
        Encoder(**{**ENCODER, **options, **changed})
    Encoder(**{**ENCODER, **options, "norm": "scale"})
