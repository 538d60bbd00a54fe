"""What the mechanisms share: bias-free projections to heads and back, and masks without NaN.

Shape letters used in every file here: B batch, N length, H heads, D size of one head.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn


class MultiHead(nn.Module):
    """Projections of the official configuration: no biases, Xavier-uniform weights.

    A mechanism derives from this and defines forward(x (B, N, dim), mask (B, N) bool or None), True
    for a real token, which returns (B, N, dim).
    """

    reversible = False  # whether the encoder's layers run in reverse for their backward pass
    padding_exempt = False  # whether padding may change real tokens' outputs; if so, say why
    selects = False  # whether later tokens have a say in which earlier ones a causal query may see
    stops_gradients = True  # at memories, as in training; False shows what they were made of
    auxiliary: Tensor | None = None  # a loss of the last forward, added to the task's in training

    def __init__(self, dim: int, heads: int, qkv_dim: int | None, dropout: float) -> None:
        super().__init__()
        width = qkv_dim or dim
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, width, bias=False)
        self.key = nn.Linear(dim, width, bias=False)
        self.value = nn.Linear(dim, width, bias=False)
        self.out = nn.Linear(width, dim, bias=False)
        for projection in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(projection.weight)

    def tie(self, first: MultiHead) -> None:
        """Called in every layer but the first: share what the mechanism shares between layers."""

    @property
    def drop(self) -> float:
        """The rate at which attention weights are dropped now."""
        return self.dropout if self.training else 0.0

    def by_head(self, x: Tensor) -> bool:
        """Whether to take one head at a time, whose tensors then stay near a CPU's cores."""
        return x.device.type == "cpu"

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, N, dim) -> q, k, v, each (B, H, N, D)"""
        return tuple(
            rearrange(projection(x), "b n (h d) -> b h n d", h=self.heads)
            for projection in (self.query, self.key, self.value)
        )

    def merge(self, heads: Tensor) -> Tensor:
        """(B, H, N, D) -> (B, N, dim)"""
        return self.out(rearrange(heads, "b h n d -> b n (h d)"))


def attendable(mask: Tensor) -> Tensor:
    """A mask (..., N) in which rows without any real token are all True.

    Softmax over nothing is 0/0; such a row has no real query either, so what it attends to is free.
    """
    return mask | ~mask.any(dim=-1, keepdim=True)


def lower_triangle(n: int, device: torch.device, mask: Tensor | None = None) -> Tensor:
    """Which keys each query may see, (n, n) or broadcast with mask (..., 1, n): no later one.

    A query always sees itself, so that one with nothing real before it has something to see.
    """
    lower = torch.ones(n, n, dtype=torch.bool, device=device).tril()
    if mask is None:
        return lower
    return lower & mask | torch.eye(n, dtype=torch.bool, device=device)


def pad_length(x: Tensor, multiple: int, dim: int) -> Tensor:
    """Zeros appended along `dim` up to a multiple of `multiple`."""
    short = -x.shape[dim] % multiple
    if not short:
        return x
    shape = list(x.shape)
    shape[dim] = short
    return torch.cat([x, x.new_zeros(shape)], dim)
