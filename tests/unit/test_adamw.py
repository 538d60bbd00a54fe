"""Our AdamW is torch's, to the bit, and does without torch's compiler."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from lra.training.optimizer import AdamW
from tiny import ROOT

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
    optimizer = AdamW(ours.parameters(), **SETTINGS)
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
    optimizer = AdamW(ours.parameters(), **SETTINGS)
    for step in range(1, 10):
        gradients(ours, step)
        optimizer.step(0.01)
    other.load_state_dict(ours.state_dict())
    resumed = AdamW(other.parameters(), **SETTINGS)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(10, 20):
        for model, each in ((ours, optimizer), (other, resumed)):
            gradients(model, step)
            each.step(0.01)
    for a, b in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_training_imports_no_compiler():
    code = """
import sys, torch
from lra.training.optimizer import AdamW
import lra.training.loop
p = torch.nn.Parameter(torch.ones(3)); p.grad = torch.ones(3)
AdamW([p]).step(0.1)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env={"PYTHONPATH": "src"})
