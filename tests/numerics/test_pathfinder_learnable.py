"""A small CNN learns Pathfinder at 32 px from pixels: the labels can be seen, though not by a probe.

The distance between the markers is matched, so that it takes following the dashes. Targets have 3
paddles, which takes half a minute of one core. Gone on with over 4 and 5 to 6 paddles (250, 250, 400
steps), the same network reached 0.89 to 0.91 there, with seeds 0, 1, 2.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lra.data.pathfinder import generate

SEED = 0
PADDLES, STEPS = 3, 350
BATCH, TRAINED, HELD_OUT = 64, 5000, 1000


class Block(nn.Module):
    """A residual dilated convolution; (B, width, H, W) to the same."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.relu(self.norm(self.conv(x)))


class Network(nn.Module):
    """(B, 1, 32, 32) images to (B, 2) logits, with dilations that grow and shrink in turn."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 4, 2, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(Block(width, d) for d in (1, 1, 2, 1, 2, 1, 2, 1)))
        self.head = nn.Linear(2 * width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(x))
        return self.head(torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1))


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, 1, 32, 32) floats in 0..1 and (count,) labels."""
    table = generate(count, 32, seed, contour_length=PADDLES, matched_distance=True)
    tokens = table["tokens"].combine_chunks().values.to_numpy().reshape(count, 1, 32, 32)
    return torch.tensor(tokens / np.float32(255)), torch.tensor(table["label"].to_numpy())


def turned(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """The batch under one of the eight symmetries of the square."""
    for axes, coin in zip(((2,), (3,)), torch.rand(2, generator=random), strict=True):
        x = x.flip(axes) if coin < 0.5 else x
    return x.transpose(2, 3) if torch.rand(1, generator=random) < 0.5 else x


def train(model: Network, x: torch.Tensor, y: torch.Tensor, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 50))
    for _ in range(STEPS):
        batch = torch.randint(len(x), (BATCH,), generator=random)
        loss = F.cross_entropy(model(turned(x[batch], random)), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def held_out_accuracy(seed: int) -> float:
    torch.manual_seed(seed)
    model = Network()
    x, y = images(TRAINED + HELD_OUT, seed)
    train(model, x[:TRAINED], y[:TRAINED], seed)
    model.eval()
    with torch.no_grad():
        return (model(x[TRAINED:]).argmax(1) == y[TRAINED:]).float().mean().item()


@pytest.mark.slow
def test_a_small_cnn_is_well_above_chance():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a shared machine faster than two that wait for each other
    try:
        accuracy = held_out_accuracy(SEED)
    finally:
        torch.set_num_threads(threads)
    print(f"seed {SEED}: {accuracy:.3f} on targets of {PADDLES} paddles")
    assert accuracy > 0.65  # 0.77 and 0.71 measured with seeds 0 and 1
