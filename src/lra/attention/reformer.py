"""Reformer: attention within buckets of a locality-sensitive hash (Kitaev et al. 2020,
arXiv:2001.04451, section 2; several rounds as in appendix A).

google-research/long-range-arena shares q and k, as here, but has no output projection, attends
across buckets, does not normalise keys, lets a token attend to itself, multiplies scores by
sqrt(D), hashes once into 10 buckets, by the same rotation for all heads, layers and steps, and
mixes up heads and positions. `variant: official` does this (lra.attention.shared.arena.reformer).
Different from that code: it lets tokens see padding, and jax draws its rotation.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import dropout as drop_out

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, exact, exact_dtype, pad_length
from lra.attention.shared import arena
from lra.core.errors import LRAError

INFO = Info("learnable pattern", "Kitaev et al. 2020, arXiv:2001.04451", "O(N log N)", causal=True)


class Attention(MultiHead):
    """Softmax over the keys that share a bucket with the query in at least one round of hashing.

    Keys are the queries, scaled to unit length. Scores are q k^T without further scaling, as the
    authors' code (google/trax) has them: it divides keys by the root of their mean square, which is
    |q| / sqrt(D), and scores by sqrt(D). In every round tokens are sorted by bucket, then position,
    and cut into chunks of `bucket_size` tokens. A query sees the tokens of its bucket in its own
    chunk and the one before. A query sees itself only if it sees nothing else.

    hashes: number of rounds.
    bucket_size: tokens per chunk, twice the mean size of a bucket. A sequence of one chunk is one
    bucket. Only real tokens count; they are sorted before padding.
    seed: of the rotations used in evaluation. In training every forward draws new ones.
    variant: `official` is described above; hashes, bucket_size and dropout do nothing there.
    reversible: whether the encoder's layers are reversible (section 3; lra.models.reversible).
    causal: queries see no later token. Which earlier tokens share their chunk depends on later
    ones, as in the paper.
    """

    selects = True

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        hashes: int = 4,
        bucket_size: int = 64,
        seed: int = 1,
        reversible: bool = False,
        variant: Literal["paper", "official"] = "paper",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        del self.key
        self.causal, self.bucket_size, self.reversible = causal, bucket_size, reversible
        self.variant, self.max_len = variant, max_len
        chunks = -(-max_len // bucket_size)
        shape = (hashes, heads, (qkv_dim or dim) // heads, chunks)
        if variant == "official":
            if causal or (qkv_dim or dim) != dim:
                fault = "is not causal" if causal else f"has qkv_dim {dim}, the model's"
                raise LRAError(f"options.variant: 'official' {fault}")
            del self.out
            shape = (dim // heads, arena.BUCKETS // 2)
        generator = torch.Generator("cpu").manual_seed(seed)
        rotations = torch.randn(shape, generator=generator, device="cpu")
        self.register_buffer("rotations", rotations, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.variant == "official":
            q, v = (p(x).unflatten(-1, (self.heads, -1)) for p in (self.query, self.value))
            return arena.reformer(q, v, mask, self.rotations.to(q.dtype), self.max_len)
        n, chunk = x.shape[1], min(self.bucket_size, x.shape[1])
        if mask is None and n % chunk:
            mask = all_real(x)
        if mask is not None:
            mask = pad_length(mask, chunk, dim=1)
        x = pad_length(x, chunk, dim=1)
        q, v = (
            rearrange(p(x), "b n (h d) -> b n h d", h=self.heads) for p in (self.query, self.value)
        )
        # all columns are drawn at every length, so that padding does not change the first ones
        rotations = torch.randn_like(self.rotations) if self.training else self.rotations
        at_once = 1 if self.by_head(x) else len(rotations)
        rotations = rotations.to(q.dtype)
        buckets = hash_into_buckets(q.detach(), mask, rotations, self.bucket_size, at_once)
        out = attend(q, v, buckets, chunk, self.causal, self.drop, at_once)
        return self.out(out.flatten(2)[:, :n])


def hash_into_buckets(
    q: Tensor, mask: Tensor | None, rotations: Tensor, size: int, at_once: int = 1
) -> Tensor:
    """The bucket of every token in every round, (R, B, H, N): argmax [x rotation; -x rotation].

    q (B, N, H, D), rotations (R, H, D, chunks or more). A row of c chunks uses the first c columns,
    which gives 2 c buckets. Masked tokens have a bucket of their own, after all others.
    """
    columns = -(-q.shape[1] // size)
    if mask is None:
        chunks = torch.full((len(q),), columns, device=q.device)
    else:
        chunks = (mask.sum(1) + size - 1) // size
    q = q.transpose(1, 2)  # (B, H, N, D)
    # unused columns give 0, which is never the maximum: x or -x is positive
    used = torch.arange(columns, device=q.device) < chunks[:, None]  # (B, columns)
    rounds = []
    for rotation in rotations[..., :columns].split(at_once):
        rotated = q @ (rotation[:, None] * used[:, None, None, :])  # (P, B, H, N, columns)
        high, first = rotated.max(-1)
        low, second = rotated.min(-1)
        bucket = torch.where(high >= -low, first, second + columns)
        bucket = bucket.masked_fill((chunks <= 1)[:, None, None], 0)
        if mask is not None:
            bucket = bucket.masked_fill(~mask[:, None, :], 2 * columns)
        rounds.append(bucket)
    return torch.cat(rounds)


def places(buckets: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of buckets (..., N): the tokens in sorted order, each one's rank there, and its place.

    i sees j where place_i - place_j is 0 (same bucket and chunk) or 1 (same bucket, chunk before).
    """
    order = torch.argsort(buckets, dim=-1, stable=True)
    at = torch.arange(buckets.shape[-1], device=buckets.device).expand_as(order)
    rank = torch.empty_like(order).scatter_(-1, order, at)
    # the next bucket is 2 further, so that it differs from the next chunk
    return order, rank, 2 * buckets + rank // chunk


def attend(
    q: Tensor,
    v: Tensor,
    buckets: Tensor,
    chunk: int,
    causal: bool = False,
    dropout: float = 0.0,
    at_once: int = 1,
) -> Tensor:
    """q, v (B, N, H, D), buckets (R, B, H, N), N a multiple of chunk. Returns (B, N, H, D).

    Appendix A weighs a key by 1 / N_ij in each of the N_ij rounds in which i sees j. Counting it in
    the first of these rounds only is the same. at_once: rounds that are computed together.
    Shape letters: P rounds at once, C chunks of one round (B H N / chunk), M = B H N.
    """
    batch, n, heads, size = q.shape
    order, rank, place = places(buckets, chunk)  # each (R, B, H, N)
    rounds = len(order)
    row = torch.arange(batch * n * heads, device=q.device)
    of_token = row.view(batch, n, heads).transpose(1, 2)  # (B, H, N)
    of_sorted = row.view(batch, heads, n)
    k = unit_length(q)
    q, k, values = (t.reshape(-1, size) for t in (q, k, v))  # (M, D)
    # places differ between sequences and heads, so chunks need no border
    place = (place + of_sorted[..., :1] * 8).int()
    own = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device)
    own = own.triu() if causal else own.tril().triu()  # a bucket is sorted by position
    tops, bottoms, maxima = [], [], []
    for first in range(0, rounds, at_once):
        token, back = order[first : first + at_once], rank[first : first + at_once]
        here = of_token.expand_as(token).gather(-1, token).flatten(1)  # (P, M)
        back = of_sorted.expand_as(back).gather(-1, back).transpose(2, 3).flatten(1)
        # the first chunk looks back at a copy of itself and sees nothing of it
        before = torch.cat([here[:, :chunk], here], dim=1)
        sorted_q = Permute.apply(q, here, back).view(len(here), -1, chunk, size)  # (P, C, S, D)
        sorted_k, sorted_v = (
            Permute.apply(t, before, back + chunk).view(len(here), -1, chunk, size)
            for t in (k, values)
        )  # (P, 1 + C, S, D)
        seen_in = place[: first + at_once, None].expand(-1, len(here), -1, -1, -1)
        at = seen_in.gather(-1, token.expand_as(seen_in)).view(len(seen_in), len(here), -1, chunk)
        tiles = []
        for shift in (0, 1):
            keys = slice(1 - shift, sorted_k.shape[1] - shift)
            scores = sorted_q @ sorted_k[:, keys].mT  # (P, C, S, S)
            excluded = _excluded(at, shift)
            if not shift:
                excluded |= own
            tiles.append((scores.masked_fill_(excluded, -torch.inf), sorted_v[:, keys]))
        # subtracting the largest score keeps exp in range; it is finite where nothing is seen
        largest = torch.maximum(*(scores.detach().amax(-1, keepdim=True) for scores, _ in tiles))
        largest = largest.clamp(min=torch.finfo(largest.dtype).min)
        weights = [(scores - largest).exp() for scores, _ in tiles]
        bottom = sum(one.sum(-1, keepdim=True, dtype=exact_dtype(q)) for one in weights)
        top = sum(drop_out(one, dropout) @ v for one, (_, v) in zip(weights, tiles, strict=True))
        for results, result in ((tops, top), (bottoms, bottom), (maxima, largest)):
            result = Restore.apply(result.view(len(here), batch * heads * n, -1), back, here)
            results.append(result.view(len(here), batch, n, heads, -1))
    largest = torch.cat(maxima).amax(0)
    shares = [(one - largest).exp() for one in maxima]
    top, bottom = (
        over_rounds(sum(share * one for share, one in zip(shares, each, strict=True)))
        for each in (tops, bottoms)
    )
    alone = bottom == 0
    return torch.where(alone, v, top / bottom.masked_fill(alone, 1))


def unit_length(q: Tensor) -> Tensor:
    """q (..., D) / |q|, with the authors' 1e-6 added to the mean square."""
    inverse = (exact(q).square().mean(-1, keepdim=True) + 1e-6).rsqrt().to(q.dtype)
    return q * inverse * q.shape[-1] ** -0.5


def over_rounds(t: Tensor) -> Tensor:
    """The sum of t (P, ...)"""
    return t.sum(0) if len(t) > 1 else t.squeeze(0)


def _excluded(at: Tensor, shift: int) -> Tensor:
    """Which keys of the chunk `shift` before are not seen in a round, or in an earlier one.

    at: places (R, P, C, S) in all rounds up to the last of P, with tokens sorted as in each of P.
    Returns (P, C, S, S).
    """
    rounds, together = at.shape[:2]
    first = rounds - together
    of_q = at[..., None]  # (R, P, C, S, 1)
    of_k = of_q.roll(shift, dims=2).mT
    own_q, own_k = (t[first:].diagonal(dim1=0, dim2=1).movedim(-1, 0) for t in (of_q, of_k))
    excluded = own_q - shift != own_k  # (P, C, S, S)
    for one in range(rounds - 1):
        later = slice(max(0, one + 1 - first), together)  # those of P to which it is an earlier one
        one_q, one_k, of_later = of_q[one, later], of_k[one, later], excluded[later]
        of_later |= one_q == one_k
        of_later |= one_q - 1 == one_k
    return excluded


class Permute(torch.autograd.Function):
    """apply(rows (M, D), index (P, M or more), its inverses (P, M)) -> rows[index]

    Backward needs no scatter.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, index.flatten()).view(*index.shape, -1)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        found = grad.flatten(0, 1).index_select(0, _in_a_row(inverse, grad.shape[1]))
        return over_rounds(found.view(*inverse.shape, -1)), None, None


class Restore(torch.autograd.Function):
    """apply(rows (P, M, D), index (P, M), its inverses (P, M)) -> each of P in the index's order"""

    @staticmethod
    def forward(ctx, rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return _select(rows, index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:
        return _select(grad, ctx.saved_tensors[0]), None, None


def _select(rows: Tensor, index: Tensor) -> Tensor:
    """rows (P, M, D) of index (P, M), each of P by itself"""
    found = rows.flatten(0, 1).index_select(0, _in_a_row(index, rows.shape[1]))
    return found.view_as(rows)


def _in_a_row(index: Tensor, rows: int) -> Tensor:
    """index (P, M) into P tables of so many rows, as one into all of them: (P M,)"""
    if len(index) == 1:
        return index[0]
    start = torch.arange(0, len(index) * rows, rows, device=index.device)
    return (index + start[:, None]).flatten()
