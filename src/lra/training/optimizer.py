"""The learning rate of each update, and AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).

AdamW calls torch's functional form. torch.optim.AdamW imports torch's compiler, which costs every
job 1.2 s. Steps and state are the same to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.optim.adamw import adamw

from lra.config.cell import ParameterGroup, Training
from lra.core.errors import LRAError

ONE_CYCLE = {"start": 1 / 25, "end": 1e-4 / 25}  # shares of the peak (torch's OneCycleLR)
MOMENTA = (0.85, 0.95)  # first betas at the peak and at both ends (torch's OneCycleLR)


def learning_rate(training: Training, step: int) -> float:
    """The rate of update `step`, counted from 1, after n = step - 1 others.

    rsqrt:    rate min(1, n / warmup) / sqrt(max(n, warmup)) (official code: utils/train_utils.py)
    cosine:   rate min(1, n / warmup) (1 + cos(pi t)) / 2, t = (n - warmup) / cycle mod 1 (as above)
    linear:   rate min(n / warmup, (steps - n) / (steps - warmup)) (facebookresearch/mega at
              aeaa4b4: fairseq/optim/lr_scheduler/linear_decay_schedule.py, from 0 to 0)
    onecycle: from rate / 25 to rate in `warmup` updates, then to rate / 250,000 at the last one,
              each on a line (torch.optim.lr_scheduler.OneCycleLR)
    """
    done = step - 1
    if training.schedule == "onecycle":
        height, up = _one_cycle(training, step)
        foot = ONE_CYCLE["start" if up else "end"]
        return training.learning_rate * (foot + (1 - foot) * height)
    rate = training.learning_rate * min(1.0, done / training.warmup)
    if training.schedule == "rsqrt":
        return rate / math.sqrt(max(done, training.warmup))
    if training.schedule == "linear":
        fallen = max(0, done - training.warmup) / max(1, training.steps - training.warmup)
        return rate * (1 - fallen)
    phase = max(0, done - training.warmup) / (training.cycle or training.steps) % 1.0
    return rate * max(0.0, 0.5 * (1 + math.cos(math.pi * phase)))


def first_beta(training: Training, step: int) -> float:
    """Adam's first beta at update `step`: that of `betas`, or the cycle of OneCycleLR."""
    if training.schedule != "onecycle":
        return training.betas[0]
    low, high = MOMENTA
    return high - (high - low) * _one_cycle(training, step)[0]


def _one_cycle(training: Training, step: int) -> tuple[float, bool]:
    """How far up the cycle update `step` is, from 0 to 1, and whether it still climbs."""
    if step <= training.warmup:
        return (step - 1) / max(1, training.warmup - 1), True
    return (training.steps - step) / (training.steps - training.warmup), False


class AdamW:
    """Decoupled weight decay; a parameter without a gradient is left alone.

    named: a model's named_parameters(). Raises LRAError where a pattern of `groups` fits no name.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        named = {name: p for name, p in named if p.requires_grad}
        self.parameters = list(named.values())
        self.betas, self.eps = betas, eps
        self.groups = by_name(named, groups, weight_decay)
        self.steps = [torch.tensor(0.0) for _ in self.parameters]
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, rate: float, first_beta: float | None = None) -> None:
        """One update at this learning rate; first_beta: instead of `betas`' own."""
        first_beta = self.betas[0] if first_beta is None else first_beta
        rows = list(zip(self.parameters, self.means, self.squares, self.steps, strict=True))
        for factor, weight_decay, members in self.groups:
            own = (rows[place] for place in members)
            used = [(p, p.grad, m, s, n) for p, m, s, n in own if p.grad is not None]
            if not used:
                continue
            parameters, gradients, means, squares, steps = map(list, zip(*used, strict=True))
            adamw(
                parameters, gradients, means, squares, [], steps, amsgrad=False, beta1=first_beta,
                beta2=self.betas[1], lr=rate * factor, weight_decay=weight_decay, eps=self.eps,
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


def by_name(
    names: Iterable[str], groups: Sequence[ParameterGroup], weight_decay: float
) -> list[tuple[float, float, list[int]]]:
    """Rate factor, weight decay and places in `names` of each group, and of all others."""
    groups = [*groups, ParameterGroup(names="*")]
    members: list[list[int]] = [[] for _ in groups]
    for place, name in enumerate(names):
        members[next(i for i, g in enumerate(groups) if fnmatchcase(name, g.names))].append(place)
    for group, own in zip(groups[:-1], members, strict=False):
        if not own:
            raise LRAError(
                f"training.groups: names '{group.names}' is the first fit of no parameter"
            )
    decays = [weight_decay if g.weight_decay is None else g.weight_decay for g in groups]
    return [(g.rate, d, own) for g, d, own in zip(groups, decays, members, strict=True)]
