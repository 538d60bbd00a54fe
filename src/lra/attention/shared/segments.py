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
        self, q: Tensor, parts: list[Part], allowed: Tensor | None, dropout: float, by_head: bool
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
        at_once = 1 if by_head else len(r)
        out = Attend.apply(
            back, hidden, dropout, at_once, q.flatten(0, 1), r, *biases, *keys, *values
        )
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
    """RelativeAttention's scores, softmax and sum, `at_once` heads after `at_once` heads.

    One head's tensors of N K values fit into a CPU's caches. None is saved: the backward pass
    computes the weights again. M is B G, h the heads at once.

    apply(back, hidden (M, 1 or S, K) or None, dropout, at_once, q (M, S, H D), r (H, S + K, D),
    content and place (H, D), *keys, *values, one (M, s, H D) each for every entry of back) ->
    (M, S, H D)
    """

    @staticmethod
    def forward(
        ctx: Any,
        back: list[tuple[int, ...]],
        hidden: Tensor | None,
        dropout: float,
        at_once: int,
        q: Tensor,
        r: Tensor,
        content: Tensor,
        place: Tensor,
        *memories: Tensor,
    ) -> Tensor:
        keys, values = memories[: len(back)], memories[len(back) :]
        out, kept = torch.empty_like(q), []
        for heads, cut in cuts(content, at_once):
            q_h, k, v = (
                folded(t, at_once)
                for t in (q[..., cut], gather(keys, back, cut), gather(values, back, cut))
            )
            q_content, q_place = biased(q_h, content[heads]), biased(q_h, place[heads])
            weights = relative_weights(q_content, q_place, k, r[heads], hidden)
            if dropout:
                kept.append(torch.empty_like(weights, dtype=torch.bool).bernoulli_(1 - dropout))
                weights *= kept[-1] / (1 - dropout)
            out[..., cut] = unfolded(weights @ v, at_once)
        ctx.save_for_backward(hidden, q, r, content, place, out, *memories, *kept)
        ctx.back, ctx.dropout, ctx.at_once = back, dropout, at_once
        return out

    @staticmethod
    def backward(ctx: Any, to_out: Tensor) -> tuple[Tensor | None, ...]:
        back, count, at_once = ctx.back, len(ctx.back), ctx.at_once
        hidden, q, r, content, place, out, *rest = ctx.saved_tensors
        keys, values, kept = rest[:count], rest[count : 2 * count], rest[2 * count :]
        to_q, to_r, to_content, to_place = (torch.empty_like(t) for t in (q, r, content, place))
        to_keys, to_values = ([torch.empty_like(t) for t in each] for each in (keys, values))
        by_place = q.new_zeros(at_once * len(q), q.shape[1], r.shape[1])
        to_scores = shifted(by_place)  # (h M, S, K); what is around it stays zero: no pair is there
        for i, (heads, cut) in enumerate(cuts(content, at_once)):
            q_h, k, v, to_out_h, out_h = (
                folded(t, at_once)
                for t in (
                    q[..., cut], gather(keys, back, cut), gather(values, back, cut),
                    to_out[..., cut], out[..., cut],
                )
            )  # fmt: skip
            q_content, q_place = biased(q_h, content[heads]), biased(q_h, place[heads])
            weights = relative_weights(q_content, q_place, k, r[heads], hidden)
            to_weights = to_out_h @ v.mT
            dropped = weights
            if ctx.dropout:
                keep = kept[i].to(weights.dtype) / (1 - ctx.dropout)
                to_weights *= keep
                dropped = weights * keep
            scatter(to_values, back, cut, unfolded(dropped.mT @ to_out_h, at_once))
            total = (to_out_h * out_h).sum(-1, keepdim=True)
            to_scores.copy_(to_weights.sub_(total).mul_(weights))
            rows = by_place.view(at_once, -1, r.shape[1])  # (h, M S, S + K)
            to_r[heads] = rows.mT @ q_place.view(at_once, -1, q_place.shape[-1])
            from_place = (rows @ r[heads]).view_as(q_h)
            scale = k.shape[-1] ** -0.5
            q_content *= scale
            scatter(to_keys, back, cut, unfolded(to_scores.mT @ q_content, at_once))
            from_content = (to_scores @ k).mul_(scale)
            for to_bias, t in ((to_place, from_place), (to_content, from_content)):
                to_bias[heads] = t.unflatten(0, (at_once, -1)).sum((1, 2))
            to_q[..., cut] = unfolded(from_place.add_(from_content), at_once)
        return None, None, None, None, to_q, to_r, to_content, to_place, *to_keys, *to_values


def relative_weights(
    q_content: Tensor, q_place: Tensor, k: Tensor, r: Tensor, hidden: Tensor | None
) -> Tensor:
    """Queries with either bias (h M, S, D), k (h M, K, D), r (h, S + K, D) -> (h M, S, K)"""
    by_place = q_place.view(len(r), -1, r.shape[-1]) @ r.mT  # (h, M S, S + K)
    by_place = shifted(by_place.view(*q_place.shape[:2], -1))
    scores = torch.baddbmm(by_place, q_content, k.mT, alpha=k.shape[-1] ** -0.5)
    if hidden is not None:
        scores.unflatten(0, (len(r), -1)).masked_fill_(hidden, -torch.inf)
    return scores.softmax(-1)


def biased(q: Tensor, bias: Tensor) -> Tensor:
    """q (h M, S, D) and each head's bias (h, D) -> (h M, S, D)"""
    return (q.unflatten(0, (len(bias), -1)) + bias[:, None, None]).flatten(0, 1)


def cuts(content: Tensor, at_once: int) -> list[tuple[slice, slice]]:
    """Every `at_once` heads, and their columns in (..., H D), from a tensor (H, D)"""
    count, size = content.shape
    heads = [slice(h, h + at_once) for h in range(0, count, at_once)]
    return [(each, slice(each.start * size, each.stop * size)) for each in heads]


def folded(t: Tensor, heads: int) -> Tensor:
    """(M, s, h D) -> (h M, s, D)"""
    return t if heads == 1 else rearrange(t, "m s (h d) -> (h m) s d", h=heads)


def unfolded(t: Tensor, heads: int) -> Tensor:
    """The inverse of `folded`"""
    return t if heads == 1 else rearrange(t, "(h m) s d -> m s (h d)", h=heads)


def gather(parts: Sequence[Tensor], back: list[tuple[int, ...]], cut: slice) -> Tensor:
    """Some heads' keys or values (M, K, h D), each part moved to the segments that see it."""
    total = sum(part.shape[1] * len(each) for part, each in zip(parts, back, strict=True))
    out = parts[0].new_empty(len(parts[0]), total, cut.stop - cut.start)
    start = 0
    for part, each in zip(parts, back, strict=True):
        for steps in each:
            moved = out[:, start : start + part.shape[1]]
            moved[:steps] = 0
            moved[steps:] = part[: len(part) - steps, :, cut]
            start += part.shape[1]
    return out


def scatter(parts: list[Tensor], back: list[tuple[int, ...]], cut: slice, gathered: Tensor) -> None:
    """The backward of `gather`: adds the gradient of what it gathered to those of its parts."""
    start = 0
    for part, each in zip(parts, back, strict=True):
        furthest = each[0] if each else len(part)
        part[len(part) - furthest :, :, cut] = 0
        for i, steps in enumerate(each):
            piece = gathered[steps:, start : start + part.shape[1]]
            seen = part[: len(part) - steps, :, cut]
            seen.add_(piece) if i else seen.copy_(piece)
            start += part.shape[1]


def shifted(x: Tensor) -> Tensor:
    """(M, S, S + K) -> (M, S, K): row i without its first S - 1 - i columns, as a view.

    Columns are distances in falling order. Query i is i further from every key than query 0. The
    last column (distance -S, which no pair has) makes one stride of this.
    """
    many, length, both = x.shape
    rows = x.view(many, -1)[:, length - 1 : -1].unflatten(1, (length, both - 1))
    return rows[..., : both - length]
