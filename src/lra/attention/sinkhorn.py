"""Sparse Sinkhorn attention (Tay et al. 2020, arXiv:2002.11296, section 3).

In google-research/long-range-arena, one bias-free D -> 25 map, shared by the heads, reads each
head's block sums of keys. It sums the sorting weights over both of their axes, so every block meets
the sum of all blocks and the map is never trained. It has no Sinkhorn iterations, takes strided
positions as blocks and adds the results of two softmaxes. `variant: official` does this. Different
from that code: it sums padding, too, masks a key by another token's padding, and fails where
block_size does not divide N. In `paper` the network reads the same sums and is shared, too, but has
the paper's two layers (without biases) and one output for each block of max_len.

No causal version: the normalisation of every column contains the logits of later blocks. The
paper's masks (causal Sinkhorn balancing) do not remove them from the earlier rows.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, attendable, exact, pad_length
from lra.attention.shared import arena
from lra.attention.shared.blocks import split
from lra.core.errors import LRAError

INFO = Info(
    "learnable pattern", "Tay et al. 2020, arXiv:2002.11296", "O(N block_size)", causal=False
)
ARENA_BLOCKS = 25  # outputs of the official sorter, for any number of blocks
LEAST = 1e-6  # smallest share of real tokens in a sorted token that is not padding


class Attention(MultiHead):
    """softmax(q [k, S k]^T / sqrt(D)) [v, S v] within blocks, S a soft permutation of the blocks

    Each head has its own S, which a two-layer network and the Sinkhorn operator compute from its
    block sums of keys. A sorted token is a mixture of the tokens at its offset in all blocks. Only
    real tokens count: the sorted token is their mean, and its attention weight is multiplied by
    their share in its row of S. Blocks without any real token stay in their place.

    temperature: of the logits; near 0 the permutation is hard. The paper found 0.75 best.
    iterations: normalisations of columns, then rows. The paper found 7 best.
    gumbel: whether training adds Gumbel noise to the logits.
    cut: SortCut: every query attends only to the first `cut` sorted blocks (of those with a real
    token). None: to its own block and the sorted block in its place.
    block_size: as in the official configuration.
    variant: `official` is lra.attention.shared.arena.sinkhorn. Its sorter is not used and gets no
    gradient; the options above, but for block_size, do nothing.
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
        block_size: int = 50,
        temperature: float = 0.75,
        iterations: int = 7,
        gumbel: bool = True,
        cut: int | None = None,
        variant: Literal["paper", "official"] = "paper",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        if temperature <= 0:
            raise LRAError(f"options.temperature: {temperature} is not above 0")
        self.block_size, self.temperature, self.iterations = block_size, temperature, iterations
        self.gumbel, self.cut, self.variant, self.max_len = gumbel, cut, variant, max_len
        size = self.key.out_features // heads
        if variant == "official":
            self.sorter = nn.Linear(size, ARENA_BLOCKS, bias=False)
            nn.init.xavier_uniform_(self.sorter.weight)
            return
        layers = [nn.Linear(size, width, bias=False) for width in (size, -(-max_len // block_size))]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
        self.sorter = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if self.variant == "official":
            q, k, v = self.query(x), self.key(x), self.value(x)
            sizes = self.heads, self.max_len, self.block_size
            return self.out(arena.sinkhorn(q, k, v, mask, *sizes, self.drop))
        n, size = x.shape[1], min(self.block_size, x.shape[1])
        if mask is None and n % size:
            mask = all_real(x)  # the tail of the last block is padding
        x = pad_length(x, size, dim=1)
        q, k, v = (split(linear(x), size) for linear in (self.query, self.key, self.value))
        real = None if mask is None else split(mask, size)  # (B, G, S)
        if real is not None:
            k, v = (t * real[..., None] for t in (k, v))
        order = self.order(k, real)  # (B, H, G, G)
        attend = self.near_and_sorted if self.cut is None else self.first_sorted
        return self.out(attend(q, k, v, real, order)[:, :n])

    def order(self, k: Tensor, real: Tensor | None) -> Tensor:
        """The permutation S from keys (B, G, S, H D): share of block j in the sorted block i."""
        with torch.autocast(k.device.type, enabled=False):  # the iterations sharpen what is lost
            sums = rearrange(exact(k).sum(2), "b g (h d) -> b h g d", h=self.heads)
            logits = self.sorter(sums)[..., : k.shape[1]]  # (B, H, G, G)
        if self.training and self.gumbel:
            logits = logits - torch.empty_like(logits).exponential_().log()
        used = None if real is None else real.any(-1)
        return sinkhorn(logits / self.temperature, self.iterations, used)

    def near_and_sorted(
        self, q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, order: Tensor
    ) -> Tensor:
        """q, k, v (B, G, S, H D), real (B, G, S) or None, order (B, H, G, G) -> (B, N, H D)"""
        moved_k, moved_v, bias = mix(order, k, v, real)
        if real is not None:
            own = q.new_zeros(real.shape).masked_fill(~attendable(real), -torch.inf)
            own = own[:, :, None].expand(-1, -1, self.heads, -1)
            bias = torch.cat([own, bias], dim=3).flatten(0, 1)[:, :, None]  # (B G, H, 1, 2 S)
        k, v = (
            torch.cat([t.unflatten(3, (self.heads, -1)), moved], dim=2).flatten(0, 1)
            for t, moved in ((k, moved_k), (v, moved_v))
        )  # (B G, 2 S, H, D)
        queries = rearrange(q, "b g s (h d) -> (b g) h s d", h=self.heads)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        out = scaled_dot_product_attention(queries, k, v, bias, self.drop)
        return rearrange(out, "(b g) h s d -> b (g s) (h d)", b=len(q))

    def first_sorted(
        self, q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, order: Tensor
    ) -> Tensor:
        """The same with SortCut."""
        if real is None:
            order = order[:, :, : self.cut]
        else:  # the first of the blocks with a real token
            first = real.any(-1).to(torch.uint8).argsort(dim=1, descending=True, stable=True)
            first = first[:, None, : self.cut, None].expand(-1, self.heads, -1, order.shape[3])
            order = order.gather(2, first)  # (B, H, cut, G)
        k, v, bias = mix(order, k, v, real)
        if real is not None:
            bias = rearrange(bias, "b g h s -> b h 1 (g s)")
            bias = bias.masked_fill(bias.amax(-1, keepdim=True) == -torch.inf, 0)  # no real token
        k, v = (rearrange(t, "b g s h d -> b h (g s) d") for t in (k, v))
        q = rearrange(q, "b g s (h d) -> b h (g s) d", h=self.heads)
        out = scaled_dot_product_attention(q, k, v, bias, self.drop)
        return rearrange(out, "b h n d -> b n (h d)")


def sinkhorn(logits: Tensor, iterations: int, used: Tensor | None = None) -> Tensor:
    """Logits (B, H, G, G) -> matrices whose rows sum to one and whose columns nearly do.

    used (B, G): blocks with a real token. Every other block is sorted to its own place.
    """
    if used is not None:
        pairs = (used[:, None, :, None] & used[:, None, None, :]).expand_as(logits)
        alone = ~used[:, None, None, :] & torch.eye(
            logits.shape[-1], dtype=torch.bool, device=logits.device
        )
        logits = logits.masked_fill(~pairs, -torch.inf).masked_fill(alone, 0)
    for _ in range(iterations):
        logits = logits.log_softmax(-2).log_softmax(-1)
    return logits.exp()


def mix(
    order: Tensor, k: Tensor, v: Tensor, real: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Keys and values (B, C, S, H, D) sorted by order (B, H, C, G), and the logarithm of shares.

    k and v (B, G, S, H D) are zeros where real (B, G, S) is False. A sorted token is the mean of
    its real tokens. Their share (B, C, H, S) multiplies its weight; None: all tokens are real.
    """
    heads = order.shape[1]
    k, v = (
        torch.einsum("bhcg,bgshd->bcshd", order.to(t.dtype), t.unflatten(3, (heads, -1)))
        for t in (k, v)
    )
    if real is None:
        return k, v, None
    with torch.autocast(k.device.type, enabled=False):
        share = torch.einsum("bhcg,bgs->bchs", order, real.to(order.dtype))
    seen = share > LEAST
    share = share.where(seen, 1)  # no gradient at zeros, where it is infinite
    bias = share.log().masked_fill(~seen, -torch.inf)
    scale = share.transpose(2, 3)[..., None].to(k.dtype)  # (B, C, S, H, 1)
    return k / scale, v / scale, bias
