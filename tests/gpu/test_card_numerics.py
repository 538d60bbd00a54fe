"""Every mechanism on the card against the CPU in float64; the same bits twice; no waiting."""

from __future__ import annotations

import copy
from contextlib import contextmanager

import pytest
import torch
from card import EVERY, MECHANISMS, ON_CARD
from torch import Tensor, nn

from lra import attention
from lra.hardware.device import unknown_energy
from lra.training import loop
from precision import DISCRETE, TOLERANCE, TOLERANCES, apart, step
from tiny import make_cell

LENGTH = 300
# Relative errors of outputs and of gradients in float32. TF32, with 10 bits of products, is beyond.
SINGLE = (5e-5, 5e-4)
SINGLES = {"reformer": (0.02, 0.1), "routing": (0.02, 0.1)}  # a token on a boundary may cross it


def built(name: str, options: dict, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return attention.build(name, 64, 4, LENGTH, dropout=dropout, **options)


def inputs() -> tuple[Tensor, Tensor]:
    """Tokens (2, LENGTH, 64), and a mask that hides the last of the second sequence."""
    torch.manual_seed(3)
    mask = torch.arange(LENGTH) < torch.tensor([[LENGTH], [LENGTH - 70]])
    return torch.randn(2, LENGTH, 64), mask


def errors(device: torch.device, name: str, options: dict, half: bool) -> list[float]:
    """Of output and gradients against float64 on the CPU. Not in training: draws are a device's own."""
    module, (x, mask) = built(name, options).eval(), inputs()
    exact = step(copy.deepcopy(module).double(), x.double(), mask, half=False)
    found = step(module.to(device), x.to(device), mask.to(device), half)
    return [apart(a.cpu().double(), b) for a, b in zip(found, exact, strict=True)]


def check(record, found: list[float], allowed: tuple[float, float]) -> None:
    for what, error in zip(("outputs", "gradients"), found, strict=True):
        record(what, f"{error:.2e}")
    assert all(error < limit for error, limit in zip(found, allowed, strict=True)), found


@EVERY
def test_float32(device, record_property, name, options):
    check(record_property, errors(device, name, options, half=False), SINGLES.get(name, SINGLE))


@EVERY
def test_bfloat16(device, record_property, name, options):
    check(
        record_property, errors(device, name, options, half=True), TOLERANCES.get(name, TOLERANCE)
    )


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@EVERY
def test_same_bits_twice(device, name, options, half):
    """With dropout, on the deterministic kernels of trainings."""
    module, (x, mask) = built(name, options, dropout=0.1).to(device).train(), inputs()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    found = []
    for _ in range(2):
        module.load_state_dict(state)  # routing's centroids move
        found.append(step(module, x.to(device), mask.to(device), half))
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)


@contextmanager
def waiting_is_an_error():
    """Any operator that makes the host wait for the card raises."""
    if ON_CARD:
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if ON_CARD:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", MECHANISMS)
def test_a_training_step_waits_for_nothing(device, tiny_listops, name, precision):
    """The second step: the first one loads libraries."""
    cell = make_cell(
        model=name, device=device.type, encoder={"attention": name},
        training={"precision": precision, "clip": 1.0},
    )  # fmt: skip
    run = loop.Run(cell, tiny_listops, unknown_energy, loop.Classification(cell), None)
    run.update()
    with waiting_is_an_error():
        run.update()
    assert all(p.isfinite().all() for p in run.model.parameters())


def test_what_is_beyond_float32_is_seen(device):
    """bfloat16 by every mechanism's float32 tolerance, but for those that choose buckets."""
    for name in MECHANISMS:
        if TOLERANCES.get(name) is not DISCRETE and name not in ("mean", "identity", "conv"):
            assert max(errors(device, name, {}, half=True)) > SINGLE[0], name
