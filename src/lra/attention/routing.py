"""Routing Transformer: attention within k-means clusters (Roy et al. 2020, arXiv:2003.05997,
section 4.1 and algorithm 1).

Not one of the arena's official models. Clusters are learnt by moving averages only, as in algorithm
1; the authors' code (google-research/routing_transformer) adds a commitment loss.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize, scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, attendable
from lra.attention.shared import blocks
from lra.core.errors import LRAError

INFO = Info(
    "learnable pattern",
    "Roy et al. 2020, arXiv:2003.05997",
    "O(N (clusters + window))",
    causal=True,
    other_weights=True,
)


class Attention(MultiHead):
    """Softmax attention within clusters; each takes the tokens nearest to its centroid.

    Queries and keys are layer-normalised without scale and bias. Every centroid takes its `window`
    nearest queries and its `window` nearest keys, and these queries attend to these keys. A query
    that several clusters take gets the mean of its outputs; one that no cluster takes gets 0 (as in
    the authors' code; algorithm 1 says "scatter").

    clusters: their number; default sqrt(max_len), as in the paper.
    window: tokens that a cluster takes; default real tokens / clusters, rounded up.
    decay: of the centroids' moving averages, which training updates (lambda in section 4.1).
    local_heads: the number of heads, the last ones, that attend within their block of `block_size`
    and the blocks beside it (half of the heads in most of the paper's models); default none.
    causal: keys are the queries, and no query sees a later key. Which tokens a cluster takes
    depends on all tokens, as in the paper, so a change of later tokens may reach earlier ones.
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
        clusters: int | None = None,
        window: int | None = None,
        decay: float = 0.999,
        local_heads: int | None = None,
        block_size: int = 128,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        if local_heads is not None and local_heads >= heads:
            raise LRAError(f"options.local_heads: {local_heads} of {heads} heads route none")
        self.causal, self.window, self.decay, self.block_size = causal, window, decay, block_size
        self.routed = heads - (local_heads or 0)
        self.clusters = clusters or math.ceil(max_len**0.5)
        size = (qkv_dim or dim) // heads
        if causal:  # routed heads have no keys of their own
            del self.key
            if local_heads:
                self.key = nn.Linear(dim, size * local_heads, bias=False)
                nn.init.xavier_uniform_(self.key.weight)
        self.register_buffer("centroids", torch.randn(self.routed, self.clusters, size))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        size, local = self.centroids.shape[-1], self.heads - self.routed
        q, v = self.query(x), self.value(x)  # (B, N, H D)
        k = None if self.causal and not local else self.key(x)
        if local:
            width = self.routed * size
            (q, local_q), (v, local_v) = (t.tensor_split([width], dim=-1) for t in (q, v))
            k, local_k = (None, k) if self.causal else k.tensor_split([width], dim=-1)
        q = layer_norm(q.unflatten(-1, (-1, size)), (size,)).to(v.dtype)  # (B, N, H, D)
        k = q if self.causal else layer_norm(k.unflatten(-1, (-1, size)), (size,)).to(v.dtype)
        taken = self.route([q] if self.causal else [q, k], mask)
        out = attend(q, k, v, taken[0], taken[-1], mask, self.window, self.causal, self.drop)
        if local:
            parts = local_q, local_k, local_v, local
            near = local_blocks(*parts, mask, self.block_size, self.causal, self.drop)
            out = torch.cat([out, near], dim=-1)
        return self.out(out)

    @torch.no_grad()
    def route(self, both: list[Tensor], mask: Tensor | None) -> list[Tensor]:
        """Which tokens every cluster takes of q and k (B, N, H, D), each (B, H, C, W)

        By the dot products with unit centroids, as exact as the centroids are: bfloat16 would lose
        an average's steps. In training the centroids move afterwards.
        """
        with torch.autocast(self.centroids.device.type, enabled=False):
            both = [
                rearrange(t, "b n h d -> b h n d").to(self.centroids.dtype).contiguous()
                for t in both
            ]
            unit = normalize(self.centroids, dim=-1)
            near = [(t @ unit.mT).mT for t in both]  # (B, H, C, N), quick for the largest over C
            taken = [take(t, mask, self.window) for t in near]
            if self.training:
                self.follow(both, near, mask)
        return taken

    @torch.no_grad()
    def follow(self, both: list[Tensor], near: list[Tensor], mask: Tensor | None) -> None:
        """Move centroids towards the tokens, q and k (B, H, N, D), that are nearest to them.

        c <- decay c + (1 - decay) / 2 (sum of its queries + sum of its keys). Only the direction of
        c matters. A centroid that is nearest to no token stays.
        """
        heads, clusters, size = self.centroids.shape
        first = clusters * torch.arange(heads, device=self.centroids.device)[:, None]
        sums = torch.zeros_like(self.centroids).flatten(0, 1)  # (H C, D)
        counts = sums.new_zeros(len(sums))
        for t, dots in zip(both, near, strict=True):
            nearest = (dots.argmax(2) + first).flatten()  # of (B H N)
            real = torch.ones_like(t[..., 0])
            if mask is not None:
                real = real * mask[:, None]
                t = t * real[..., None]
            sums.index_add_(0, nearest, t.flatten(0, 2))
            counts.index_add_(0, nearest, real.flatten())
        followed = (counts > 0).view(heads, clusters, 1)
        sums = sums.view_as(self.centroids)
        moved = self.decay * self.centroids + (1 - self.decay) / len(both) * sums
        self.centroids.copy_(torch.where(followed, moved, self.centroids))


def take(near: Tensor, mask: Tensor | None, window: int | None) -> Tensor:
    """The tokens (B, H, C, W) that every cluster takes, nearest first, real ones before padding."""
    clusters, n = near.shape[2:]
    if mask is not None:
        near = near.masked_fill(~mask[:, None, None], -torch.inf)
    return near.topk(min(window or -(-n // clusters), n), dim=-1).indices


def counted(mask: Tensor, clusters: int, window: int | None, width: int) -> Tensor:
    """Which of a cluster's `width` tokens count, (B, W): as many as without padding."""
    real = mask.sum(1, keepdim=True)
    limit = (real + clusters - 1) // clusters if window is None else real  # W is at most `window`
    return torch.arange(width, device=mask.device) < limit


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_taken: Tensor,
    k_taken: Tensor,
    mask: Tensor | None,
    window: int | None,
    causal: bool,
    dropout: float,
) -> Tensor:
    """q, k (B, N, H, D), v (B, N, H D), taken (B, H, C, W). Returns (B, N, H D)."""
    batch, n, heads, size = q.shape
    clusters, width = q_taken.shape[2:]
    row = torch.arange(batch * n * heads, device=q.device).view(batch, n, heads).transpose(1, 2)
    q_row, k_row = (
        row.gather(-1, t.transpose(2, 3).flatten(2)).flatten() for t in (q_taken, k_taken)
    )  # of (B N H, D), in the order of (B, H, W, C), which is SDPA's own
    q, k, v = (
        t.reshape(-1, size).index_select(0, rows).view(-1, width, clusters, size).transpose(1, 2)
        for t, rows in ((q, q_row), (k, k_row), (v, k_row))
    )  # (B H, C, W, D)
    allowed, times = None, torch.ones_like(q_row, dtype=q.dtype)
    if mask is not None:
        taken = counted(mask, clusters, window, width)[:, None, None, :]  # (B, 1, 1, W)
        times = taken.mT.expand(batch, heads, width, clusters).flatten().to(q.dtype)
        allowed = attendable(taken).expand(batch, heads, 1, width).reshape(-1, 1, 1, width)
    if causal:
        earlier = (k_taken[..., None, :] <= q_taken[..., :, None]).flatten(0, 1)  # (B H, C, W, W)
        allowed = earlier if allowed is None else attendable(earlier & allowed)
    out = scaled_dot_product_attention(q, k, v, allowed, dropout)
    total = times.new_zeros(batch * n * heads).index_add_(0, q_row, times)
    share = times / total.clamp(min=1)[q_row]
    out = out.transpose(1, 2).reshape(-1, size) * share[:, None]
    out = out.new_zeros(batch * n * heads, size).index_add(0, q_row, out)
    return out.view(batch, n, heads * size)


def local_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None,
    size: int,
    causal: bool,
    dropout: float,
) -> Tensor:
    """Attention to a token's own block, the one before and, if not causal, the one after."""
    n = q.shape[1]
    size, after = min(size, n), int(not causal)
    real = all_real(q) if mask is None else mask
    q, k, v, real = (blocks.split(t, size) for t in (q, k, v, real))
    k, v, real = (blocks.neighbours(t, 1, after) for t in (k, v, real))
    allowed = real[:, :, None]  # (B, G, 1, W S)
    if causal:
        at = torch.arange(size, device=q.device)
        allowed = allowed & (torch.cat([at - size, at]) <= at[:, None])
    return blocks.attend(q, k, v, heads, allowed, dropout)[:, :n]
