"""Sums over all earlier tokens (mean, linear, performer), and the baselines that see few tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import elu, pad

from lra.attention.linear import EPS
from lra.attention.performer import RELU_EPS, TINY, relu_features
from lra.attention.steps.base import State, Steps
from lra.core.errors import LRAError


class Identity(Steps):
    """Nothing is kept."""

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        return ()

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        return self.layer(x), ()


class Conv(Steps):
    """The last width - 1 values (B, width - 1, E), zeros before the first token"""

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        return (tail(self.layer.value(x), len(self.layer.kernel) - 1),)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        window = torch.cat([state.tensors[0], self.layer.value(x)], dim=1)
        return self.layer.out((window * self.layer.kernel).sum(1, keepdim=True)), (window[:, 1:],)


class Mean(Steps):
    """The sum of values (B, 1, E)"""

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.layer.value(x).sum(1, keepdim=True),)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        total = state.tensors[0] + self.layer.value(x)
        return self.layer.out(total / (state.n + 1)), (total,)


class Linear(Steps):
    """The sums of phi(k) v^T (B, H, D, D) and of phi(k) (B, H, 1, D)"""

    def added(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi(q), and what the tokens x (B, N, dim) add to the sums"""
        q, k, v = self.layer.project(x)
        k = elu(k) + 1
        return elu(q) + 1, k.mT @ v, k.sum(2, keepdim=True)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.added(x)[1:]

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        q, context, total = self.added(x)
        context, total = state.tensors[0] + context, state.tensors[1] + total
        out = q @ context / ((q * total).sum(-1, keepdim=True) + EPS)
        return self.layer.merge(out), (context, total)


class Performer(Steps):
    """The sum of phi(k) [v, 1]^T (B, H, M, D + 1), and the largest exponent so far (B, H, 1, 1)

    The softmax kernel's features are over the largest exponent of any key, which cancels; the sums
    are scaled when there is a larger one. Other kernels have no exponents.
    """

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        if layer.redraw == "call":
            raise LRAError("options.redraw: 'call' draws other features at each call; use none")
        self.exponents = layer.kernel == "softmax"

    def features(self, t: Tensor) -> Tensor:
        """Of keys or queries (B, H, N, D); of the softmax kernel its logarithms"""
        projection = self.layer.projection
        if projection is None:
            return t.relu() + RELU_EPS
        if not self.exponents:
            return relu_features(t, projection)
        scale = t.shape[-1] ** -0.25
        return t @ (projection * scale).T

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of keys and [v, 1] of x (B, N, dim)"""
        layer = self.layer
        k = layer.split_heads(layer.key(x))
        features = self.features(k)
        if self.exponents:
            features = features - k.square().sum(-1, keepdim=True) * (k.shape[-1] ** -0.5 / 2)
        return features, pad(layer.split_heads(layer.value(x)), (0, 1), value=1.0)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        k, v = self.keys(x)
        if not self.exponents:
            return (k.mT @ v,)
        none = k.new_full((*k.shape[:2], 1, 1), -torch.inf)
        top = torch.cat([none, k.amax(-1, keepdim=True)], dim=2).amax(2, keepdim=True)
        return (k - top).exp().mT @ v, top

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        k, v = self.keys(x)
        q = self.features(self.layer.split_heads(self.layer.query(x)))
        if self.exponents:
            sums, before = state.tensors
            top = torch.maximum(before, k.amax(-1, keepdim=True))
            sums = sums * (before - top).exp() + (k - top).exp().mT @ v
            q, tensors = (q - q.amax(-1, keepdim=True)).exp(), (sums, top)
        else:
            sums = state.tensors[0] + k.mT @ v
            tensors = (sums,)
        out = q @ sums  # (B, H, 1, D + 1)
        total = out[..., -1:]
        out = out[..., :-1] / total.masked_fill(total < TINY, 1)
        return self.layer.merge(out), tensors


def tail(t: Tensor, count: int) -> Tensor:
    """The last `count` tokens of t (B, N, E), with zeros before the first: (B, count, E)"""
    return pad(t, (0, 0, count, 0))[:, t.shape[1] :]
