"""Segments with memories of earlier ones, for Transformer-XL and Compressive Transformer.

In one layer, a segment sees only the layer's inputs at earlier segments, with the gradient stopped.
They are known before the layer starts, so all segments are computed at once.

For shape letters see lra.attention.base; m are the keys of a memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import linear

from lra.attention.base import all_real, attendable, lower_triangle
from lra.attention.shared.blocks import split


class Shared(torch.autograd.Function):
    """x W^T + b as two outputs of one multiplication that differ in where their gradients go.

    apply(x (..., i), weight (o, i), bias (o,) or None, own) -> two of (..., o). The second, the
    keys or values of a memory, sends its gradient to weight and bias only. The first sends it to x
    and, if `own`, also to weight and bias.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, own: bool
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, bias)
        ctx.own = own
        out = linear(x, weight, bias)
        return out, out.detach()

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        to_weight = first + second if ctx.own else second
        # under autocast the gradients are bfloat16, what was saved is not
        to_x = (first @ weight.to(first.dtype)).to(x.dtype)
        to_weight = to_weight.flatten(0, -2)
        to_bias = None if bias is None else to_weight.sum(0).to(bias.dtype)
        to_weight = to_weight.mT @ x.flatten(0, -2).to(to_weight.dtype)
        return to_x, to_weight.to(weight.dtype), to_bias, None


def projected(x: Tensor, projection: nn.Linear, stops_gradients: bool) -> tuple[Tensor, Tensor]:
    """Keys or values of x for its own segment, and for later ones, where gradients may stop."""
    own, memory = Shared.apply(x, projection.weight, projection.bias, True)
    return own, memory if stops_gradients else own


def in_segments(
    x: Tensor, mask: Tensor | None, segment: int, causal: bool
) -> tuple[Tensor, Tensor | None]:
    """x (B, N, dim) -> (B, G, S, dim), and its mask (B, G, S); None where all see all."""
    size = min(segment, x.shape[1])
    if mask is None and (x.shape[1] > size or causal):
        # the tail of the last segment is padding, and the first segments lack memories
        mask = all_real(x)
    return split(x, size), None if mask is None else split(mask, size)


def earlier(x: Tensor, segments: int, count: int, skip: int = 0) -> Tensor:
    """The `count` segments before each of `segments`, without the last `skip` ones.

    x (B, at least G - 1 - skip, S, ...) -> (B, G, count S, ...), oldest first, zeros (False) where
    there are none.
    """
    first = x.new_zeros(len(x), count + skip, *x.shape[2:])
    padded = torch.cat([first, x[:, : segments - 1 - skip]], dim=1)
    shifts = [padded[:, shift : shift + segments] for shift in range(count)]
    return torch.cat(shifts, dim=2) if count > 1 else shifts[0]


def visible(memories: list[Tensor], own: Tensor, causal: bool) -> Tensor:
    """Which keys a query sees, (B, G, 1 or S, K): real ones of memories (B, G, m) and of its own
    segment (B, G, S)."""
    keys = [real[:, :, None] for real in (*memories, own)]
    if causal:
        keys[-1] = lower_triangle(own.shape[2], own.device, keys[-1])
        keys = [real.expand(-1, -1, own.shape[2], -1) for real in keys]
    return torch.cat(keys, dim=3)


def sinusoids(distances: Tensor, dim: int) -> Tensor:
    """R (L, dim) of distances (L,): sines, then cosines, of Vaswani et al.'s wavelengths."""
    rate = torch.arange(0, dim, 2, dtype=distances.dtype, device=distances.device) / dim
    angle = distances[:, None] * torch.exp(-math.log(10_000) * rate)
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :dim]


@dataclass
class Part:
    """Keys and values (B, G, s, H D) of G segments, and which segments see them.

    A segment sees those of the segments that lie `back` before it: (2, 1) are the last two, (0,) is
    the segment itself.
    """

    k: Tensor
    v: Tensor
    back: tuple[int, ...]


class RelativeAttention(nn.Module):
    """Softmax attention with Transformer-XL's scores (Dai et al. 2019, section 3.3).

    score(i, j) = ((q_i + u)^T k_j + (q_i + v)^T W_kR R_(i - j)) / sqrt(D). Each head has u
    (`content`) and v (`place`). W_kR is `distance`. R are sinusoids of the signed distance.
    """

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.distance = nn.Linear(dim, width, bias=False)
        nn.init.xavier_uniform_(self.distance.weight)
        # as in the authors' code
        self.content = nn.Parameter(torch.randn(heads, width // heads) * 0.02)
        self.place = nn.Parameter(torch.randn(heads, width // heads) * 0.02)

    def forward(
        self, q: Tensor, parts: list[Part], allowed: Tensor | None, dropout: float
    ) -> Tensor:
        """Every segment's queries q (B, G, S, H D) to the keys of `parts`, oldest first.

        allowed (B, G, 1 or S, K), True where q may see k; False beyond a sequence's first segment.
        Returns (B, G S, H D).
        """
        batch, _, length, _ = q.shape
        back = [part.back for part in parts]
        # a segment before is a row before; `allowed` hides another example's rows
        keys, values = (
            [part.k.flatten(0, 1) for part in parts],
            [part.v.flatten(0, 1) for part in parts],
        )
        total = sum(k.shape[1] * len(steps) for k, steps in zip(keys, back, strict=True))
        r = self.positions(length, total).to(q.dtype)
        biases = self.content.to(q.dtype), self.place.to(q.dtype)
        hidden = None if allowed is None else ~attendable(allowed).flatten(0, 1)
        out = Attend.apply(back, hidden, dropout, q.flatten(0, 1), r, *biases, *keys, *values)
        return rearrange(out, "(b g) s w -> b (g s) w", b=batch)

    def positions(self, length: int, keys: int) -> Tensor:
        """W_kR R / sqrt(D) (H, S + K, D) of the distances K - 1, K - 2, ..., -S"""
        heads, size = self.content.shape
        weight = self.distance.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        distances = torch.arange(keys - 1, -length - 1, -1, dtype=dtype, device=weight.device)
        r = self.distance(sinusoids(distances, weight.shape[1]).to(weight.dtype))
        return rearrange(r, "l (h d) -> h l d", h=heads) * size**-0.5


class Attend(torch.autograd.Function):
    """RelativeAttention's scores, softmax and sum, one head after the other.

    One head's tensors of N K values fit into caches, and none is saved: the backward pass computes
    the weights again. M is B G.

    apply(back, hidden (M, 1 or S, K) or None, dropout, q (M, S, H D), r (H, S + K, D), content and
    place (H, D), *keys, *values, one (M, s, H D) each for every entry of back) -> (M, S, H D)
    """

    @staticmethod
    def forward(
        ctx: Any,
        back: list[tuple[int, ...]],
        hidden: Tensor | None,
        dropout: float,
        q: Tensor,
        r: Tensor,
        content: Tensor,
        place: Tensor,
        *memories: Tensor,
    ) -> Tensor:
        keys, values = memories[: len(back)], memories[len(back) :]
        out, kept = torch.empty_like(q), []
        for h, cut in enumerate(cuts(content)):
            k, v = gather(keys, back, cut), gather(values, back, cut)
            weights = relative_weights(q[..., cut], k, r[h], content[h], place[h], hidden)
            if dropout:
                kept.append(torch.empty_like(weights, dtype=torch.bool).bernoulli_(1 - dropout))
                weights *= kept[h] / (1 - dropout)
            out[..., cut] = weights @ v
        ctx.save_for_backward(hidden, q, r, content, place, out, *memories, *kept)
        ctx.back, ctx.dropout = back, dropout
        return out

    @staticmethod
    def backward(ctx: Any, to_out: Tensor) -> tuple[Tensor | None, ...]:
        back, count = ctx.back, len(ctx.back)
        hidden, q, r, content, place, out, *rest = ctx.saved_tensors
        keys, values, kept = rest[:count], rest[count : 2 * count], rest[2 * count :]
        to_q, to_r, to_content, to_place = (torch.empty_like(t) for t in (q, r, content, place))
        to_keys, to_values = ([torch.empty_like(t) for t in each] for each in (keys, values))
        by_place = q.new_zeros(*q.shape[:2], r.shape[1])  # stays zero where no pair is
        to_scores = shifted(by_place)  # (M, S, K)
        for h, cut in enumerate(cuts(content)):
            k, v = gather(keys, back, cut), gather(values, back, cut)
            weights = relative_weights(q[..., cut], k, r[h], content[h], place[h], hidden)
            to_weights = to_out[..., cut] @ v.mT
            dropped = weights
            if ctx.dropout:
                keep = kept[h].to(weights.dtype) / (1 - ctx.dropout)
                to_weights *= keep
                dropped = weights * keep
            scatter(to_values, back, cut, dropped.mT @ to_out[..., cut])
            total = (to_out[..., cut] * out[..., cut]).sum(-1, keepdim=True)
            to_scores.copy_(to_weights.sub_(total).mul_(weights))
            to_r[h] = by_place.flatten(0, 1).mT @ (q[..., cut] + place[h]).flatten(0, 1)
            from_place = by_place @ r[h]
            scale = k.shape[-1] ** -0.5
            scatter(to_keys, back, cut, to_scores.mT @ ((q[..., cut] + content[h]) * scale))
            from_content = (to_scores @ k).mul_(scale)
            to_place[h], to_content[h] = from_place.sum((0, 1)), from_content.sum((0, 1))
            to_q[..., cut] = from_place.add_(from_content)
        return None, None, None, to_q, to_r, to_content, to_place, *to_keys, *to_values


def relative_weights(
    q: Tensor, k: Tensor, r: Tensor, content: Tensor, place: Tensor, hidden: Tensor | None
) -> Tensor:
    """One head's q (M, S, D), k (M, K, D), r (S + K, D), biases (D,) -> weights (M, S, K)"""
    by_place = shifted((q + place) @ r.mT)
    scores = torch.baddbmm(by_place, q + content, k.mT, alpha=q.shape[-1] ** -0.5)
    if hidden is not None:
        scores.masked_fill_(hidden, -torch.inf)
    return scores.softmax(-1)


def cuts(content: Tensor) -> list[slice]:
    """The columns of each head in (..., H D), from a tensor (H, D)"""
    heads, size = content.shape
    return [slice(h * size, h * size + size) for h in range(heads)]


def gather(parts: Sequence[Tensor], back: list[tuple[int, ...]], cut: slice) -> Tensor:
    """One head's keys or values (M, K, D), each part moved to the segments that see it."""
    moved = []
    for part, each in zip(parts, back, strict=True):
        for steps in each:
            one = part[: len(part) - steps, :, cut]
            if steps:
                one = torch.cat([one.new_zeros(steps, *one.shape[1:]), one])
            moved.append(one)
    return torch.cat(moved, dim=1)


def scatter(parts: list[Tensor], back: list[tuple[int, ...]], cut: slice, gathered: Tensor) -> None:
    """The backward of `gather`: adds the gradient of what it gathered to those of its parts."""
    start = 0
    for part, each in zip(parts, back, strict=True):
        if each != (0,):
            part[..., cut] = 0
        for steps in each:
            piece = gathered[steps:, start : start + part.shape[1]]
            seen = part[: len(part) - steps, :, cut]
            seen.add_(piece) if steps else seen.copy_(piece)
            start += part.shape[1]


def shifted(x: Tensor) -> Tensor:
    """(M, S, S + K) -> (M, S, K): row i without its first S - 1 - i columns, as a view.

    Columns are distances in falling order. Query i is i further from every key than query 0. The
    last column (distance -S, which no pair has) makes one stride of this.
    """
    many, length, both = x.shape
    rows = x.view(many, -1)[:, length - 1 : -1].unflatten(1, (length, both - 1))
    return rows[..., : both - length]
