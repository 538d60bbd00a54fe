"""Attention with relative positions, of segments to their own and to earlier segments' keys.

For shape letters see lra.attention.base.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from lra.attention.base import attendable
from lra.attention.shared.hidden import minus_infinity
from lra.attention.shared.tiles import count_keys, folded, gather, scatter, tiles, unfolded

SEGMENTS, TILES = 8, 8  # of a CPU: at least so many segments at once, at most so many tiles a head


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
        r = self.positions(length, count_keys(keys, back)).to(q.dtype)
        biases = self.content.to(q.dtype), self.place.to(q.dtype)
        hidden = None if allowed is None else ~attendable(allowed).flatten(0, 1)
        many = len(keys[0])
        at_once = (1, max(SEGMENTS, -(-many // TILES))) if by_head else (len(r), many)
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
    """RelativeAttention's scores, softmax and sum, tile after tile.

    A tile is `at_once` heads of `at_once` segments, whose S K weights each fit into a CPU's caches.
    None is saved: the backward pass computes them again. h and m are a tile's heads and segments.

    apply(back, hidden (M, 1 or S, K) or None, dropout, at_once, q (M, S, H D), r (H, S + K, D),
    content and place (H, D), *keys, *values, one (M, s, H D) each for every entry of back) ->
    (M, S, H D), M = B G
    """

    @staticmethod
    def forward(
        ctx: Any,
        back: list[tuple[int, ...]],
        hidden: Tensor | None,
        dropout: float,
        at_once: tuple[int, int],
        q: Tensor,
        r: Tensor,
        content: Tensor,
        place: Tensor,
        *memories: Tensor,
    ) -> Tensor:
        keys, values = memories[: len(back)], memories[len(back) :]
        (h, _), out, kept = at_once, torch.empty_like(q), []
        for heads, tile in tiles(len(q), *content.shape, at_once):
            q_h, k, v = (
                folded(t, h)
                for t in (q[tile], gather(keys, back, tile), gather(values, back, tile))
            )
            q_content, q_place = biased(q_h, content[heads]), biased(q_h, place[heads])
            weights = relative_weights(q_content, q_place, k, r[heads], hidden, tile[0])
            if dropout:
                kept.append(torch.empty_like(weights, dtype=torch.bool).bernoulli_(1 - dropout))
                weights *= kept[-1] / (1 - dropout)
            out[tile] = unfolded(weights @ v, h)
        ctx.save_for_backward(hidden, q, r, content, place, *memories, *kept)
        ctx.back, ctx.dropout, ctx.at_once = back, dropout, at_once
        return out

    @staticmethod
    def backward(ctx: Any, to_out: Tensor) -> tuple[Tensor | None, ...]:
        back, count, (h, m) = ctx.back, len(ctx.back), ctx.at_once
        hidden, q, r, content, place, *rest = ctx.saved_tensors
        keys, values, kept = rest[:count], rest[count : 2 * count], rest[2 * count :]
        to_q, to_keys, to_values = (
            torch.empty_like(q),
            *([torch.zeros_like(t) for t in each] for each in (keys, values)),
        )
        to_r, to_content, to_place = (torch.zeros_like(t) for t in (r, content, place))
        room = q.new_zeros(h * m, q.shape[1], r.shape[1])
        for i, (heads, tile) in enumerate(tiles(len(q), *content.shape, (h, m))):
            q_h, to_out_h = folded(q[tile], h), folded(to_out[tile], h)
            q_content, q_place = biased(q_h, content[heads]), biased(q_h, place[heads])
            k = folded(gather(keys, back, tile), h)
            weights = relative_weights(q_content, q_place, k, r[heads], hidden, tile[0])
            to_weights = to_out_h @ folded(gather(values, back, tile), h).mT
            dropped = weights
            if ctx.dropout:
                keep = kept[i].to(weights.dtype) / (1 - ctx.dropout)
                to_weights *= keep
                dropped = weights * keep
            scatter(to_values, back, tile, unfolded(dropped.mT @ to_out_h, h))
            by_place = room[: len(q_h)]
            to_scores = shifted(by_place)  # what is around it stays zero: no pair is there
            to_weights *= weights
            total = to_weights.sum(-1, keepdim=True)
            to_scores.copy_(to_weights.addcmul_(weights, total, value=-1))  # (h m, S, K)
            del weights, dropped, to_weights
            rows = by_place.view(h, -1, r.shape[1])  # (h, m S, S + K)
            to_r[heads] += rows.mT @ q_place.view(h, -1, q_place.shape[-1])
            from_place = (rows @ r[heads]).view_as(q_h)
            scale = k.shape[-1] ** -0.5
            q_content *= scale
            scatter(to_keys, back, tile, unfolded(to_scores.mT @ q_content, h))
            from_content = (to_scores @ k).mul_(scale)
            for to_bias, t in ((to_place, from_place), (to_content, from_content)):
                to_bias[heads] += t.unflatten(0, (h, -1)).sum((1, 2))
            to_q[tile] = unfolded(from_place.add_(from_content), h)
            del k, t, from_place, from_content  # before there are those of the next tile
        return None, None, None, None, to_q, to_r, to_content, to_place, *to_keys, *to_values


def relative_weights(
    q_content: Tensor,
    q_place: Tensor,
    k: Tensor,
    r: Tensor,
    hidden: Tensor | None,
    segments: slice,
) -> Tensor:
    """Queries with either bias (h m, S, D), k (h m, K, D), r (h, S + K, D) -> (h m, S, K)

    hidden (M, 1 or S, K), of which a tile has `segments`.
    """
    by_place = q_place.view(len(r), -1, r.shape[-1]) @ r.mT  # (h, m S, S + K)
    by_place = shifted(by_place.view(*q_place.shape[:2], -1))
    scores = torch.baddbmm(by_place, q_content, k.mT, alpha=k.shape[-1] ** -0.5)
    del by_place  # before there are weights
    if hidden is not None:
        scores.unflatten(0, (len(r), -1)).add_(minus_infinity(hidden[segments], scores.dtype))
    return scores.softmax(-1)


def biased(q: Tensor, bias: Tensor) -> Tensor:
    """q (h m, S, D) and each head's bias (h, D) -> (h m, S, D)"""
    return (q.unflatten(0, (len(bias), -1)) + bias[:, None, None]).flatten(0, 1)


def shifted(x: Tensor) -> Tensor:
    """(M, S, S + K) -> (M, S, K): row i without its first S - 1 - i columns, as a view.

    Columns are distances in falling order. Query i is i further from every key than query 0. The
    last column (distance -S, which no pair has) makes one stride of this.
    """
    many, length, both = x.shape
    rows = x.view(many, -1)[:, length - 1 : -1].unflatten(1, (length, both - 1))
    return rows[..., : both - length]
