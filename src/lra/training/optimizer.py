"""The learning rate of each step, and AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).

AdamW calls torch's functional form. torch.optim.AdamW imports torch's compiler, which costs every
job 1.2 s. Steps and state are the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from lra.config.cell import Training


def learning_rate(training: Training, step: int) -> float:
    """The rate of update `step`, counted from 1 (official code: utils/train_utils.py).

    rsqrt:  rate min(1, step / warmup) / sqrt(max(step, warmup))
    cosine: rate min(1, step / warmup) (1 + cos(pi t)) / 2, t = (step - warmup) / cycle mod 1
    linear: rate min(1, step / warmup), falling to 0 at the last step (not of the official code)
    """
    rate = training.learning_rate * min(1.0, step / training.warmup)
    if training.schedule == "rsqrt":
        return rate / math.sqrt(max(step, training.warmup))
    if training.schedule == "linear":
        left = (training.steps - step) / max(1, training.steps - training.warmup)
        return rate * min(1.0, max(0.0, left))
    phase = max(0, step - training.warmup) / (training.cycle or training.steps) % 1.0
    return rate * max(0.0, 0.5 * (1 + math.cos(math.pi * phase)))


class AdamW:
    """Decoupled weight decay on all parameters; a parameter without a gradient is left alone."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self.steps = [torch.tensor(0.0) for _ in self.parameters]
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update at this learning rate."""
        rows = zip(self.parameters, self.means, self.squares, self.steps, strict=True)
        used = [(p, p.grad, m, s, n) for p, m, s, n in rows if p.grad is not None]
        parameters, gradients, means, squares, steps = map(list, zip(*used, strict=True))
        adamw(
            parameters, gradients, means, squares, [], steps, amsgrad=False, beta1=self.betas[0],
            beta2=self.betas[1], lr=rate, weight_decay=self.weight_decay, eps=self.eps,
            maximize=False,
        )  # fmt: skip

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "means": self.means, "squares": self.squares}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, own in self.state_dict().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)
