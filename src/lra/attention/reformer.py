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
from torch.nn.functional import pad

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, exact, exact_dtype, pad_length
from lra.attention.shared import arena
from lra.attention.shared.hidden import minus_infinity
from lra.attention.shared.rows import Pairs, Permute, Restore, over_rounds
from lra.core.errors import LRAError

INFO = Info("learnable pattern", "Kitaev et al. 2020, arXiv:2001.04451", "O(N log N)", causal=True)
CHUNKS = 128  # at once, of a CPU: its caches hold their scores


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
        at_once = (1, CHUNKS) if self.by_head(x) else (len(rotations), q[..., 0].numel() // chunk)
        rotations = rotations.to(q.dtype)
        buckets = hash_into_buckets(q.detach(), mask, rotations, self.bucket_size, at_once[0])
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
    at_once: tuple[int, int] = (1, CHUNKS),
) -> Tensor:
    """q, v (B, N, H, D), buckets (R, B, H, N), N a multiple of chunk. Returns (B, N, H, D).

    Appendix A weighs a key by 1 / N_ij in each of the N_ij rounds in which i sees j. Counting it in
    the first of these rounds only is the same. at_once: rounds, and chunks of each, that are
    computed together.
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
    own = pad(own, (chunk, 0))  # (S, 2 S)
    tops, bottoms, maxima = [], [], []
    for first in range(0, rounds, at_once[0]):
        token, back = (t[first : first + at_once[0]] for t in (order, rank))
        here = of_token.expand_as(token).gather(-1, token).flatten(1)  # (P, M)
        back = of_sorted.expand_as(back).gather(-1, back).transpose(2, 3).flatten(1)
        # the first chunk looks back at a copy of itself and sees nothing of it
        before = torch.cat([here[:, :chunk], here], dim=1)
        some_q = Permute.apply(q, here, back).view(len(here), -1, chunk, size)  # (P, C, S, D)
        some_q = some_q.split(at_once[1], dim=1)
        some_k, some_v = (
            Permute.apply(t, before, back + chunk).view(len(here), -1, chunk, size)
            for t in (k, values)
        )  # (P, 1 + C, S, D)
        some_k, some_v = (Pairs.apply(t, at_once[1]) for t in (some_k, some_v))
        seen_in = place[: first + at_once[0], None].expand(-1, len(here), -1, -1, -1)
        at = seen_in.gather(-1, token.expand_as(seen_in)).view(len(seen_in), len(here), -1, chunk)
        at = torch.cat([at.roll(1, dims=2), at], dim=-1)  # (R, P, C, 2 S)
        some_at = at.split(at_once[1], dim=2)
        found = [
            of_chunks(*some, own, dropout)
            for some in zip(some_q, some_k, some_v, some_at, strict=True)
        ]
        top, bottom, largest = (torch.cat(each, dim=1) for each in zip(*found, strict=True))
        for results, result in ((tops, top), (bottoms, bottom), (maxima, largest)):
            result = Restore.apply(result.view(len(here), batch * heads * n, -1), back, here)
            results.append(result.view(len(here), batch, n, heads, -1))
    largest = torch.cat(maxima).amax(0)
    shares = [(one - largest).exp() for one in maxima]
    top, bottom = (
        sum(over_rounds(share * one) for share, one in zip(shares, each, strict=True))
        for each in (tops, bottoms)
    )
    alone = bottom == 0
    return torch.where(alone, v, top / bottom.masked_fill(alone, 1))


def unit_length(q: Tensor) -> Tensor:
    """q (..., D) / |q|, with the authors' 1e-6 added to the mean square."""
    inverse = (exact(q).square().mean(-1, keepdim=True) + 1e-6).rsqrt().to(q.dtype)
    return q * inverse * q.shape[-1] ** -0.5


def of_chunks(
    q: Tensor, k: Tensor, v: Tensor, at: Tensor, own: Tensor, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums (P, C, S, D) of weighted values, and of weights, and the largest score (P, C, S, 1).

    q (P, C, S, D), k and v (P, C, 2 S, D), at (R, P, C, 2 S), own (S, 2 S)
    """
    scores = q @ k.mT  # (P, C, S, 2 S)
    scores += minus_infinity(_excluded(at).logical_or_(own), scores.dtype)
    # subtracting the largest score keeps exp in range; it is finite where nothing is seen
    largest = scores.detach().amax(-1, keepdim=True)
    largest = largest.clamp(min=torch.finfo(largest.dtype).min)
    weights = scores.sub_(largest).exp_()
    bottom = weights.sum(-1, keepdim=True, dtype=exact_dtype(q))
    return drop_out(weights, dropout) @ v, bottom, largest


def _excluded(at: Tensor) -> Tensor:
    """Which keys of the chunk before and of a query's own are not seen in a round, or were earlier.

    at: places (R, P, C, 2 S) in all rounds up to the last of P, with tokens sorted as in each of P.
    Returns (P, C, S, 2 S).
    """
    rounds, together, _, both = at.shape
    first, chunk = rounds - together, both // 2
    of_q, of_k = at[..., chunk:, None], at[..., None, :]
    own_q, own_k = (t[first:].diagonal(dim1=0, dim2=1).movedim(-1, 0) for t in (of_q, of_k))
    before = torch.arange(both, device=at.device) < chunk
    excluded = own_q != own_k + before  # (P, C, S, 2 S)
    for one in range(rounds - 1):
        later = slice(max(0, one + 1 - first), together)  # those of P to which it is an earlier one
        one_q, one_k, of_later = of_q[one, later], of_k[one, later], excluded[later]
        of_later |= one_q == one_k
        of_later |= one_q - 1 == one_k
    return excluded
