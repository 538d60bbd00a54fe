"""What all mechanisms share: projections to heads and back, and masks without NaN.

Shape letters in every file of this package: B batch, N length, H heads, D head size; dim is the
layer's width, and H D the width of all heads together. Files that cut sequences add G blocks (or
segments), S tokens per block, W blocks that one block sees, K keys that a block's queries see.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

PROJECTIONS = ("query", "key", "value", "out", "global_query", "global_key", "global_value")


class MultiHead(nn.Module):
    """Projections of the official configuration: no biases, Xavier-uniform weights.

    `set_projections` gives them biases or torch's initialisation.

    A mechanism derives from this and defines forward(x (B, N, dim), mask (B, N) bool or None) ->
    (B, N, dim). The mask is True for real tokens and False for padding.
    """

    reversible = False  # whether the encoder's layers run in reverse for their backward pass
    padding_exempt = False  # whether padding may change real tokens' outputs; if so, say why
    reach: int | None = None  # tokens on either side that it mixes; None: all, or by another rule
    selects = False  # whether later tokens influence which earlier ones a causal query sees
    gates_residual = False  # whether forward(x, mask, stream) is given what its output is added to
    stops_gradients = True  # at memories, as in training; False lets them through, to be measured
    auxiliary: Tensor | None = None  # loss of the last forward, added to the task's in training

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

    def set_projections(self, bias: bool, init: Literal["xavier", "torch"]) -> None:
        """Draw the projections anew, here and in all parts, those to global tokens included.

        bias: whether they have biases. A layer's other maps (e.g. Sinkhorn's sorter, Synthesizer's
        W1, the relative positions of xl and compressive) keep their own form.
        init: `xavier` has uniform weights and zero biases. `torch` is nn.Linear's own: weights and
        biases uniform within 1 / sqrt(inputs).
        """
        for part in self.modules():
            if not isinstance(part, MultiHead):
                continue
            for name in PROJECTIONS:
                old = getattr(part, name, None)  # some mechanisms lack some
                if old is None:
                    continue
                new = nn.Linear(old.in_features, old.out_features, bias)
                if init == "xavier":
                    nn.init.xavier_uniform_(new.weight)
                    if bias:
                        nn.init.zeros_(new.bias)
                setattr(part, name, new)

    def tie(self, first: MultiHead) -> None:
        """Share with the first layer what the mechanism shares; called in all later layers."""

    @property
    def drop(self) -> float:
        """The dropout rate of attention weights: 0 out of training."""
        return self.dropout if self.training else 0.0

    def by_head(self, x: Tensor) -> bool:
        """Whether to compute one head at a time, so that its tensors stay in a CPU's cache."""
        return x.device.type == "cpu"

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, N, H D) -> (B, H, N, D)"""
        return rearrange(x, "b n (h d) -> b h n d", h=self.heads)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, N, dim) -> q, k, v, each (B, H, N, D)"""
        return tuple(self.split_heads(p(x)) for p in (self.query, self.key, self.value))

    def merge(self, heads: Tensor) -> Tensor:
        """(B, H, N, D) -> (B, N, dim)"""
        return self.out(rearrange(heads, "b h n d -> b n (h d)"))


def exact(t: Tensor) -> Tensor:
    """t in float32, or float64 where it is: for sums and exponents that bfloat16 would lose."""
    return t.to(exact_dtype(t))


def exact_dtype(t: Tensor) -> torch.dtype:
    """Of `exact`."""
    return torch.promote_types(t.dtype, torch.float32)


def all_real(x: Tensor) -> Tensor:
    """The mask (B, N) of x (B, N, ...) without padding."""
    return x.new_ones(x.shape[:2], dtype=torch.bool)


def attendable(mask: Tensor) -> Tensor:
    """A mask (..., N) in which rows without any real token are all True.

    Softmax over nothing is 0/0. Such a row has no real query, so it does not matter what it sees.
    """
    return mask | ~mask.any(dim=-1, keepdim=True)


def allowed_keys(mask: Tensor | None) -> Tensor | None:
    """A mask (B, N) of keys as attention takes it, (B, 1, 1, N)."""
    return None if mask is None else attendable(mask)[:, None, None, :]


def lower_triangle(n: int, device: torch.device, mask: Tensor | None = None) -> Tensor:
    """Which keys each query may see, (n, n) or broadcast with mask (..., 1, n): no later one.

    A query always sees itself, so that every row has something to see.
    """
    lower = torch.ones(n, n, dtype=torch.bool, device=device).tril()
    if mask is None:
        return lower
    return lower & mask | torch.eye(n, dtype=torch.bool, device=device)


def sum_before(t: Tensor, dim: int) -> Tensor:
    """The sum over all earlier places along dim, exactly.

    A product: cumsum of floats is refused on a GPU where algorithms must be deterministic.
    """
    n = t.shape[dim]
    earlier = torch.ones(n, n, dtype=t.dtype, device=t.device).tril(-1)
    with torch.autocast(t.device.type, enabled=False):
        return torch.tensordot(earlier, t, ([1], [dim])).movedim(0, dim)


def pad_length(x: Tensor, multiple: int, dim: int) -> Tensor:
    """x with zeros appended along `dim` up to a multiple of `multiple`."""
    short = -x.shape[dim] % multiple
    if not short:
        return x
    shape = list(x.shape)
    shape[dim] = short
    return torch.cat([x, x.new_zeros(shape)], dim)
