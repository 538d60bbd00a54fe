"""Mega, by definition: recurrences over tokens, and the whole matrix of scores."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import silu


def attention(module, x: Tensor, mask: Tensor | None) -> Tensor:
    """A layer's outputs from x (B, N, dim), by its weights, equations 7 to 15."""
    n, dim = x.shape[1:]
    real = torch.ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
    average = both_averages(module.ema, x * real[..., None])
    z = silu(module.query(average))
    q = module.scale[0] * z + module.shift[0]
    k = module.scale[1] * z + module.shift[1]
    v = silu(module.value(x))
    place = torch.arange(n)
    chunk = module.chunk or n
    seen = real[:, None, :] & (place[:, None] // chunk == place // chunk)
    if module.causal:
        seen = seen & (place <= place[:, None])
    context = weights(module, q @ k.mT, biases(module, n), seen) @ v
    parts = v.shape[-1], dim, dim
    to_reset, to_update, to_h = module.gates.weight.split(parts)
    reset_bias, update_bias, h_bias = module.gates.bias.split(parts)
    reset = silu(average @ to_reset.mT + reset_bias)
    update = torch.sigmoid(average @ to_update.mT + update_bias)
    h = silu(average @ to_h.mT + h_bias + module.out(reset * context))
    return update * h + (1 - update) * x - x


def both_averages(ema, x: Tensor) -> Tensor:
    y = moving_average(x, ema.truncation, ema.delta[0], ema.alpha[0], ema.beta[0], ema.gamma[0])
    if len(ema.delta) == 2:
        second = ema.delta[1], ema.alpha[1], ema.beta[1], ema.gamma[1]
        y = y + moving_average(x.flip(1), ema.truncation, *second).flip(1)
    return silu(y + ema.omega * x)


def moving_average(
    x: Tensor, truncation: int | None, delta: Tensor, alpha: Tensor, beta: Tensor, gamma: Tensor
) -> Tensor:
    """The damped recurrence of each of x's (B, N, dim) features, parameters (dim, states).

    A token leaves it `truncation` tokens later.
    """
    weight, damping = torch.sigmoid(delta), torch.sigmoid(alpha)  # alpha and delta of equation 6
    decay = 1 - weight * damping
    state, outputs = x.new_zeros(len(x), *beta.shape), []
    for t in range(x.shape[1]):
        state = weight * beta * x[:, t, :, None] + decay * state
        if truncation and t >= truncation:
            state = state - decay**truncation * weight * beta * x[:, t - truncation, :, None]
        outputs.append((gamma * state).sum(-1) / math.sqrt(beta.shape[-1]))
    return torch.stack(outputs, dim=1)


def biases(module, n: int) -> Tensor:
    """(N, N) of all pairs, also of those that a chunk does not have"""
    if module.relative == "simple":
        middle = len(module.bias) // 2
        rows = [
            [module.bias[max(min(middle + j - i, 2 * middle), 0)] for j in range(n)]
            for i in range(n)
        ]
        return torch.stack([torch.stack(row) for row in rows])
    a, b = (torch.stack([rotated(vector, i) for i in range(n)]) for vector in module.bias)
    return a @ b.mT


def rotated(vector: Tensor, position: int) -> Tensor:
    """As the authors' code: features i and i + z / 2 are a pair."""
    first, second = vector.chunk(2)
    rate = 10_000 ** (-torch.arange(len(first), dtype=vector.dtype) / len(first))
    sin, cos = (position * rate).sin(), (position * rate).cos()
    return torch.cat([first * cos - second * sin, second * cos + first * sin])


def weights(module, products: Tensor, bias: Tensor, seen: Tensor) -> Tensor:
    """Equation 12 without values, (B, N, N); a row that sees nothing is zero."""
    if module.function == "softmax":
        scores = products / math.sqrt(module.query.out_features) + bias
        return scores.masked_fill(~seen, -torch.inf).softmax(-1).nan_to_num()
    scores = products / seen.sum(-1, keepdim=True).clamp(min=1) + bias
    spread = math.sqrt(1 / (4 * math.pi))
    return (1 + torch.erf((scores - math.sqrt(1 / 2)) / (spread * math.sqrt(2)))) / 2 * seen
