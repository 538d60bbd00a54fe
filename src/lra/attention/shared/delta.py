"""The (gated) delta rule in chunks (Yang et al. 2024, arXiv:2406.06484; 2025, arXiv:2412.06464).

    S_t = alpha_t (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T,  o_t = S_t^T q_t

Before it writes v under k, the state forgets the share beta of what it holds under k, and the share
1 - alpha of all. Letters beside base.py's: C tokens of a chunk, M = B H G chunks of all heads.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from lra.attention.base import pad_length
from lra.attention.shared.decay import Decays
from lra.attention.shared.scan import Scan, previous

CHUNK = (16, 64)  # tokens, at least and at most; between these, as many as a key has entries


def delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    decay: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """q, k, v (B, H, N, D), beta and decay = log alpha (R, B, H, N) of R directions -> (B, H, N, D)

    The first direction is the rule from the first token on, the second the one from the last token
    back. Their outputs are summed. `chunk`, in tokens, changes the time that it takes, and no
    result.
    """
    heads, n = q.shape[1:3]
    size = min(chunk or min(max(q.shape[3], CHUNK[0]), CHUNK[1]), n)
    groups = -(-n // size)
    q, k, v = (
        rearrange(pad_length(t, size, 2), "b h (g c) d -> (b h g) c d", c=size) for t in (q, k, v)
    )
    beta, decay = (
        None
        if t is None
        else rearrange(pad_length(t, size, 3), "r b h (g c) -> r (b h g) c 1", c=size)
        for t in (beta, decay)
    )
    out, scores = 0, q @ k.mT
    for i, writes in enumerate(beta):
        log = None if decay is None else decay[i]
        out = out + one_direction(q, k, v, scores, writes, log, groups, i == 1)
    return rearrange(out, "(b h g) c d -> b h (g c) d", h=heads, g=groups)[:, :, :n]


def one_direction(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scores: Tensor,
    beta: Tensor,
    decay: Tensor | None,
    groups: int,
    backwards: bool,
) -> Tensor:
    """q, k, v (M, C, D), scores q k^T, beta and decay (M, C, 1) -> (M, C, D); `groups` is G.

    Token i writes u_i = beta_i (v_i - what the state holds under k_i). The writes of a chunk solve
    the unitriangular system (I + tril(beta K K^T L, -1)) U = beta (V - L K S) with the decays L
    between tokens and the state S before the chunk. U is linear in S, so a chunk takes S to A S + W
    with matrices of D x D.

    The authors go from chunk to chunk in a loop of N / C steps. Here the states before all chunks
    are a scan of log2(G) steps (shared.scan). It has 3 products of D x D matrices for a chunk where
    the loop has 1, beside about 8 products of that size within a chunk of C = D tokens.
    """
    triangle = torch.triu if backwards else torch.tril
    erased = k * beta
    within = erased @ k.mT
    if decay is None:
        own, to_end, stays = triangle(scores), k, 1
    else:
        between = decays(decay, backwards)  # (M, C, C)
        first, last = (-1, 0) if backwards else (0, -1)
        since_start = between[:, :, first, None] * decay[:, None, first].exp()  # (M, C, 1)
        within, own = within * between, scores * between
        q, erased = q * since_start, erased * since_start
        to_end, stays = k * between[:, last, :, None], since_start[:, None, last]
    # reads neither the diagonal nor what is beyond it
    free, bound = torch.linalg.solve_triangular(
        within, torch.cat([v * beta, erased], -1), upper=backwards, unitriangular=True
    ).split([v.shape[-1], k.shape[-1]], -1)  # U = free - bound S
    kept = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device) * stays - to_end.mT @ bound
    added = to_end.mT @ free
    states = Scan.apply(*(t.unflatten(0, (-1, groups)) for t in (kept, added)), backwards)
    before = previous(states, backwards).flatten(0, 1)
    return (q @ before).baddbmm_(own, torch.baddbmm(free, bound, before, alpha=-1))


def decays(log: Tensor, backwards: bool) -> Tensor:
    """exp of the sums of log (M, C, 1) from after token j to token i, (M, C, C); 0 for j > i.

    Backwards: from before j down to i; 0 for j < i.
    """
    return Decays(log[..., 0], backwards, reads_own=True).within()
