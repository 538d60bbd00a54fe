"""Normalisation in the encoder's blocks: over a token's features, or over a batch's real tokens.

Each is a module forward(x (B, N, dim), mask (B, N) bool or None) -> (B, N, dim), computed in
float32 or above.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lra.attention.base import exact
from lra.config.cell import Encoder


class LayerNorm(nn.LayerNorm):
    """torch's; it needs no mask"""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x)


class ScaleNorm(nn.Module):
    """g x / sqrt(mean of x^2 + eps), one g for all features (Nguyen and Salazar 2019,
    arXiv:1910.05895; here with the mean, as Mega's authors have it)"""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        rows = exact(x)
        size = rows.square().mean(dim=-1, keepdim=True)
        return (self.weight * rows * torch.rsqrt(size + self.eps)).to(x.dtype)


class BatchNorm(nn.Module):
    """Batch normalisation over the real tokens of all sequences (Ioffe and Szegedy 2015,
    arXiv:1502.03167); the output at padding means nothing.

    As torch.nn.BatchNorm1d on the real tokens alone: training divides by the batch's biased
    variance, and evaluation by the running mean of unbiased ones, so that no example depends on its
    batch. The running values are buffers: saved, and restored when a training goes on.
    """

    def __init__(self, dim: int, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens = exact(x)
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return (tokens * scale + (self.bias - self.running_mean * scale)).to(x.dtype)
        real = tokens.new_ones(tokens.shape[:2]) if mask is None else mask.to(tokens.dtype)
        real = real[:, :, None]  # (B, N, 1)
        count = real.sum()  # stays on the device
        at_least_one = count.clamp(min=1)
        mean = (tokens * real).sum((0, 1)) / at_least_one
        centred = (tokens - mean) * real
        var = centred.square().sum((0, 1)) / at_least_one
        self.follow(mean.detach(), var.detach(), count)
        return (centred * torch.rsqrt(var + self.eps) * self.weight + self.bias).to(x.dtype)

    @torch.no_grad()
    def follow(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Move the running values towards a batch's; a batch without a real token moves nothing."""
        share = self.momentum * count.clamp(max=1)
        unbiased = var * count / (count - 1).clamp(min=1)
        self.running_mean += share * (mean - self.running_mean)
        self.running_var += share * (unbiased - self.running_var)


def build(config: Encoder) -> nn.Module:
    if config.norm == "batch":
        return BatchNorm(config.dim, config.norm_eps, config.norm_momentum)
    if config.norm == "scale":
        return ScaleNorm(config.norm_eps)
    return LayerNorm(config.dim, eps=config.norm_eps)
