"""Our AdamW is torch's, to the bit, and does without torch's compiler."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lra.config.cell import ParameterGroup
from lra.core.errors import LRAError
from lra.training.optimizer import AdamW

SETTINGS = {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 0.1}


def pair():
    torch.manual_seed(0)
    one = nn.Sequential(nn.Linear(7, 9), nn.LayerNorm(9), nn.Linear(9, 3), nn.Linear(3, 3))
    return one, copy.deepcopy(one)


def gradients(model, step, skip=False):
    generator = torch.Generator().manual_seed(step)
    for number, parameter in enumerate(model.parameters()):
        grad = torch.randn(parameter.shape, generator=generator)
        parameter.grad = None if skip and number == 2 else grad


@pytest.mark.parametrize("skip", [False, True], ids=["all", "without-a-gradient"])
def test_steps_are_torchs(skip):
    ours, theirs = pair()
    optimizer = AdamW(ours.named_parameters(), **SETTINGS)
    oracle = torch.optim.AdamW(theirs.parameters(), **SETTINGS)
    for step in range(1, 30):
        gradients(ours, step, skip and step < 20)
        gradients(theirs, step, skip and step < 20)
        optimizer.step(0.01 / step)
        oracle.param_groups[0]["lr"] = 0.01 / step
        oracle.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_saved_in_the_middle_it_goes_on_alike():
    ours, other = pair()
    optimizer = AdamW(ours.named_parameters(), **SETTINGS)
    for step in range(1, 10):
        gradients(ours, step)
        optimizer.step(0.01)
    other.load_state_dict(ours.state_dict())
    resumed = AdamW(other.named_parameters(), **SETTINGS)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(10, 20):
        for model, each in ((ours, optimizer), (other, resumed)):
            gradients(model, step)
            each.step(0.01)
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_groups_have_their_own_rate_and_decay_and_the_first_fit_counts():
    ours, theirs = pair()
    groups = [
        ParameterGroup(names="0.*", rate=0.1, weight_decay=0.0),
        ParameterGroup(names="*.bias", rate=0.5),
    ]
    optimizer = AdamW(ours.named_parameters(), **SETTINGS, groups=groups)
    named = dict(theirs.named_parameters())
    first, biases = ["0.weight", "0.bias"], ["1.bias", "2.bias", "3.bias"]
    rest = [name for name in named if name not in (*first, *biases)]
    oracle = torch.optim.AdamW(
        [
            {"params": [named[n] for n in first], "lr": 0.001, "weight_decay": 0.0},
            {"params": [named[n] for n in biases], "lr": 0.005},
            {"params": [named[n] for n in rest], "lr": 0.01},
        ],
        **SETTINGS,
    )
    for step in range(1, 10):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(0.01)
        oracle.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_group_of_no_parameter_is_an_error():
    with pytest.raises(LRAError, match="training.groups: names 'blocks.*' is the first fit of no"):
        AdamW(pair()[0].named_parameters(), groups=[ParameterGroup(names="blocks.*")])


def test_the_first_beta_of_a_step_can_be_given():
    ours, theirs = pair()
    optimizer = AdamW(ours.named_parameters(), **SETTINGS)
    oracle = torch.optim.AdamW(theirs.parameters(), **SETTINGS)
    for step in range(1, 6):
        gradients(ours, step)
        gradients(theirs, step)
        optimizer.step(0.001, first_beta=0.9 + step / 100)
        oracle.param_groups[0]["betas"] = (0.9 + step / 100, 0.98)
        oracle.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
