"""BigBird (Zaheer et al. 2020, arXiv:2007.14062, sections 2 and D): window, random, global blocks.

Random blocks come from the whole sequence, as in the paper; the official code draws them from the
first 1024 positions only. As there, every head and every layer has its own, fixed for good.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, attendable
from lra.attention.shared.blocks import split

INFO = Info(
    "fixed pattern", "Zaheer et al. 2020, arXiv:2007.14062", "O(N block_size)", causal=False
)
NOT_A_CANDIDATE = 2**15 - 1  # a rank after all others


class Attention(MultiHead):
    """Each block of `block_size` tokens sees itself, both neighbours, random and global tokens.

    variant `itc` (internal construction): the first and the last block are global: they see all
    tokens and all tokens see them. The last block is that of an example's last real token, so that
    padding changes nothing. `etc` (extended): `global_tokens` tokens are added to the sequence and
    are global. The paper carries them from layer to layer. Here a layer gets the sequence only, so
    every layer learns its own: they first see all tokens and themselves, then add what they saw and
    are seen by all. (The paper's ETC models have no random blocks: random_blocks 0.)

    A block's `random_blocks` are neither neighbours nor global. Each block ranks all others at
    random, by `seed`, and takes the first of those that the example has, or all if they are fewer.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        block_size: int = 64,
        random_blocks: int | Literal[0] = 3,
        variant: Literal["itc", "etc"] = "itc",
        global_tokens: int = 64,
        seed: int = 1,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.block_size, self.random_blocks, self.seed = block_size, random_blocks, seed
        self.max_blocks, self.layers = -(-max_len // block_size), 1
        self.register_buffer("rank", self.draw(layer=0))
        self.extra = nn.Parameter(torch.randn(global_tokens, dim)) if variant == "etc" else None

    def tie(self, first: Attention) -> None:
        """Draw another pattern than in the earlier layers, as in the official code."""
        self.rank = self.draw(first.layers)
        first.layers += 1

    def draw(self, layer: int) -> Tensor:
        """For each head and block, a random rank of every block: (H, blocks, blocks)."""
        shape = (self.heads, self.max_blocks, self.max_blocks)
        ranks = np.broadcast_to(np.arange(self.max_blocks, dtype=np.int16), shape)
        drawn = np.random.default_rng([self.seed, layer]).permuted(ranks, axis=-1)
        return torch.tensor(drawn).contiguous()  # a checkpoint wants it

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shape letters: W blocks seen besides the global ones, A global tokens."""
        n, size = x.shape[1], min(self.block_size, x.shape[1])
        if mask is None:
            mask = all_real(x)
        mask = split(mask, size)  # (B, G, S)
        q, k, v = (
            rearrange(split(p(x), size), "b g s (h d) -> b h g s d", h=self.heads)
            for p in (self.query, self.key, self.value)
        )
        numbers = torch.arange(mask.shape[1], device=x.device)
        last = (mask.any(-1) * numbers).amax(1)  # (B,)
        seen, exists = self.pattern(numbers, last)  # (B, H, G, W)
        example = torch.arange(len(x), device=x.device)
        allowed = mask[example[:, None, None, None], seen] & exists[..., None]
        if self.extra is None:
            global_k, global_v = ends(k, last), ends(v, last)  # (B, H, A, D)
            visible = ends(mask[:, None, ..., None], last)[:, 0, :, 0]  # (B, A)
        else:
            global_k, global_v = self.read(k.flatten(2, 3), v.flatten(2, 3), mask.flatten(1))
            visible = mask.new_ones(len(x), len(self.extra))
        # not by `gather`: its backward in bfloat16 would add up too many terms one by one
        keys, values = (
            torch.cat([t[:, :, None].expand(-1, -1, len(numbers), -1, -1), found], dim=3)
            for t, found in ((global_k, self.gather(k, seen)), (global_v, self.gather(v, seen)))
        )  # (B, H, G, A + W S, D)
        visible = visible[:, None, None].expand(-1, *allowed.shape[1:3], -1)
        allowed = torch.cat([visible, allowed.flatten(3)], dim=3)  # (B, H, G, A + W S)
        # blocks and heads are SDPA's batch
        parts = (t.flatten(0, 1) for t in (q, keys, values))
        allowed = attendable(allowed).flatten(0, 1)[:, :, None]
        out = scaled_dot_product_attention(*parts, allowed, self.drop)
        out = out.unflatten(0, (-1, self.heads))
        if self.extra is None:
            allowed = attendable(mask.flatten(1))[:, None, None]
            parts = (ends(q, last), k.flatten(2, 3), v.flatten(2, 3))
            first, final = scaled_dot_product_attention(*parts, allowed, self.drop).chunk(2, dim=2)
            out = torch.cat([first[:, :, None], out[:, :, 1:]], dim=2)
            is_last = (numbers == last[:, None])[:, None, :, None, None]
            out = torch.where(is_last, final[:, :, None], out)
        return self.out(rearrange(out, "b h g s d -> b (g s) (h d)")[:, :n])

    def pattern(self, numbers: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """The blocks that each block sees, (B, H, G, W), and which of them exist.

        They are 3 neighbours and the random ones, without global blocks. last (B,): each example's
        last block.
        """
        margin = 1 if self.extra is None else 0  # global blocks at either end

        def others(j: Tensor) -> Tensor:
            return (j >= margin) & (j <= (last - margin)[:, None, None, None])

        blocks = len(numbers)
        near = numbers[:, None] + torch.arange(-1, 2, device=last.device)  # (G, 3)
        apart = (numbers - numbers[:, None]).abs() > 1  # (G, G)
        rank = self.rank[:, :blocks, :blocks].where(others(numbers) & apart, NOT_A_CANDIDATE)
        chosen, far = rank.topk(min(self.random_blocks, blocks), largest=False)  # (B, H, G, ...)
        near, is_near = (
            t.expand(*far.shape[:3], 3) for t in (near.clamp(0, blocks - 1), others(near))
        )
        exists = torch.cat([is_near, chosen < NOT_A_CANDIDATE], dim=3)
        return torch.cat([near, far], dim=3), exists

    def gather(self, t: Tensor, seen: Tensor) -> Tensor:
        """The blocks `seen` (B, H, G, W) of t (B, H, G, S, D) -> (B, H, G, W S, D)

        They are rows of a table: look-up and its backward are faster than indexing.
        """
        batch, heads, blocks, _, size = t.shape
        table = torch.arange(batch * heads, device=t.device).view(batch, heads, 1, 1)
        rows = embedding(seen + blocks * table, t.flatten(3).flatten(0, 2))  # (B, H, G, W, S D)
        return rows.unflatten(-1, (-1, size)).flatten(3, 4)

    def read(self, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, A, D) of the extra tokens once they have seen all tokens.

        k, v (B, H, N, D), mask (B, N)
        """
        batch = len(k)
        extra = self.extra.expand(batch, -1, -1)
        q, own_k, own_v = self.project(extra)
        k, v = torch.cat([own_k, k], dim=2), torch.cat([own_v, v], dim=2)
        allowed = torch.cat([mask.new_ones(batch, len(self.extra)), mask], dim=1)[:, None, None]
        extra = extra + self.merge(scaled_dot_product_attention(q, k, v, allowed, self.drop))
        return self.project(extra)[1:]


def ends(t: Tensor, last: Tensor) -> Tensor:
    """The first and each example's last block of t (B, H, G, S, D) -> (B, H, 2 S, D)"""
    return torch.cat([t[:, :, 0], t[torch.arange(len(t), device=t.device), :, last]], dim=2)
