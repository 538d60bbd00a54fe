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

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, exact_dtype, pad_length
from lra.attention.shared import arena
from lra.attention.shared.blocks import split
from lra.core.errors import LRAError

INFO = Info(
    "learnable pattern", "Tay et al. 2020, arXiv:2002.11296", "O(N block_size)", causal=False
)
ARENA_BLOCKS = 25  # outputs of the official sorter, for any number of blocks
SEQUENCES = 65_535  # the largest batch that CUDA's fused attention takes with dropout


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
        for name, value in (("temperature", temperature), ("iterations", iterations)):
            if value <= 0:
                raise LRAError(f"options.{name}: {value} is not above 0")
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
        q, k, v = self.project(x)  # (B, H, N, D)
        n, size, own = x.shape[1], min(self.block_size, x.shape[1]), self.cut is None
        real = used = None
        if mask is not None:
            k, v = (t * mask[:, None, :, None] for t in (k, v))
            real = split(mask, size)  # (B, G, S)
            used = real.any(-1)  # (B, G)
            seeing = used[..., None] if own else used.any(1)[:, None, None]
            real = real | ~seeing  # who would see nothing sees padding
        elif n % size:
            real = x.new_ones(1, -(-n // size), size)
            real[:, -1, n % size :] = 0  # the tail of the last block is padding
        k, v = (in_blocks(t, size) for t in (k, v))  # (B H, G, S, D)
        order = self.order(k, used)  # (B, H, G, G)
        if not own:
            order = first(order, used, self.cut)  # (B, H, cut, G)
        with torch.autocast(x.device.type, enabled=False):
            k, v, bias = Sorted.apply(order.flatten(0, 1), k, v, real, own)
        return self.merge(self.attend(q, k, v, bias))

    def order(self, k: Tensor, used: Tensor | None) -> Tensor:
        """The permutation S from keys (B H, G, S, D): share of block j in the sorted block i."""
        with torch.autocast(k.device.type, enabled=False):  # the iterations sharpen what is lost
            sums = k.sum(2, dtype=exact_dtype(k)).unflatten(0, (-1, self.heads))
            logits = self.sorter(sums)[..., : k.shape[1]]  # (B, H, G, G)
        if self.training and self.gumbel:
            logits = logits - torch.empty_like(logits).exponential_().log()
        return sinkhorn(logits / self.temperature, self.iterations, used)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """q (B, H, N, D), k and v (B H, C, K, D), bias (B H, C, K) or None -> (B, H, N, D)

        Each block sees its K keys, but with SortCut every query sees all C K.
        """
        shape, joined = q.shape, 1
        if self.cut is None:  # every block of every head is a sequence
            joined = 0
            q = in_blocks(q, k.shape[2] // 2).flatten(0, 1)  # (B H G, S, D)
            # of one head, for fused kernels return gradients in the order (B, N, H, D)
            q = q.unflatten(0, (-1, 1 if len(q) <= SEQUENCES else self.heads))
        k, v, bias = (
            t if t is None else t.flatten(joined, joined + 1).unflatten(0, (-1, q.shape[1]))
            for t in (k, v, bias)
        )
        bias = None if bias is None else bias[:, :, None]
        out = scaled_dot_product_attention(q, k, v, bias, self.drop)
        return out.reshape(*shape[:2], -1, shape[3])[:, :, : shape[2]]


def in_blocks(t: Tensor, size: int) -> Tensor:
    """(B, H, N, D) -> contiguous (B H, G, S, D), zeros appended to fill the last block."""
    return pad_length(t, size, dim=2).contiguous().unflatten(2, (-1, size)).flatten(0, 1)


def sinkhorn(logits: Tensor, iterations: int, used: Tensor | None = None) -> Tensor:
    """Logits (B, H, G, G) -> matrices whose rows sum to one and whose columns nearly do.

    used (B, G): blocks with a real token. Every other block is sorted to its own place.
    """
    if used is not None:
        itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
        pairs = used[:, None, :, None] & used[:, None, None, :] | itself
        logits = logits.masked_fill(~pairs, -torch.inf)
    logits = logits.log_softmax(-2)
    for _ in range(iterations - 1):
        logits = logits.log_softmax(-1).log_softmax(-2)
    return logits.softmax(-1)


def first(order: Tensor, used: Tensor | None, count: int) -> Tensor:
    """The first `count` rows of order (B, H, G, G), of blocks with a real token; used (B, G)."""
    if used is None:
        return order[:, :, :count]
    rows = used.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]
    return order.gather(2, rows[:, None, :, None].expand(*order.shape[:2], -1, order.shape[3]))


class Sorted(torch.autograd.Function):
    """Keys and values of sorted blocks, and the logarithm of each token's share of real tokens.

    apply(order (B H, C, G), k and v (B H, G, S, D), real (B or 1, G, S) or None, own) ->
    k and v (B H, C, K, D), bias (B H, C, K) or None

    k and v are zeros at padding. A sorted token is the mean of its real tokens, and the bias
    multiplies its weight by their share. real None: all tokens are real. With `own` each block's
    own tokens come before the sorted ones: C = G and K = 2 S, else K = S.

    A share of zero has the bias -inf: nothing sees that token, so all its gradients are zeros.
    Gradients are added by the products that make them, in few kernels.
    """

    @staticmethod
    def forward(
        ctx: Any, order: Tensor, k: Tensor, v: Tensor, real: Tensor | None, own: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        mixing, divisor, bias = order.to(k.dtype), None, None
        keys, values = ((mixing @ t.flatten(2)).unflatten(2, t.shape[2:]) for t in (k, v))
        if real is not None:
            real = real.to(order.dtype)
            share = order.reshape(len(real), -1, order.shape[2]) @ real
            share = share.view(len(real), -1, *keys.shape[1:3])
            divisor = share.clamp(min=torch.finfo(share.dtype).tiny).view(*keys.shape[:3], 1)
            keys.div_(divisor)
            values.div_(divisor)
            if own:
                share = torch.cat([real[:, None].expand_as(share), share], 3)
            bias = share.log().flatten(0, 1)
        if own:
            keys, values = torch.cat([k, keys], 2), torch.cat([v, values], 2)
        ctx.save_for_backward(order, real, divisor, keys, values, *(() if own else (k, v)))
        return keys, values, bias

    @staticmethod
    def backward(
        ctx: Any, to_keys: Tensor, to_values: Tensor, to_bias: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        order, real, divisor, keys, values, *given = ctx.saved_tensors
        size = keys.shape[2] if given else keys.shape[2] // 2
        k, v = given or (t[:, :, :size] for t in (keys, values))
        to_keys, to_values = to_keys.contiguous(), to_values.contiguous()
        to_sorted = [t[:, :, -size:] for t in (to_keys, to_values)]
        if real is not None:
            to_sorted = [(t / divisor).to(t.dtype) for t in to_sorted]
            products = to_sorted[0] * keys[:, :, -size:]
            products.addcmul_(to_sorted[1], values[:, :, -size:])
            products = products.sum(3, keepdim=True, dtype=order.dtype)
            from_share = torch.addcdiv(products, to_bias[:, :, -size:, None], divisor, value=-1)
        to_sorted = [t.flatten(2) for t in to_sorted]
        to_order = to_sorted[0] @ k.flatten(2).mT
        to_order = to_order.baddbmm_(to_sorted[1], v.flatten(2).mT).to(order.dtype)
        if real is not None:  # from_share is the negative of share's gradient
            from_share = from_share.reshape(len(real), -1, size)
            to_order.view(len(real), -1, order.shape[2]).baddbmm_(from_share, real.mT, alpha=-1)
        mixed = order.to(k.dtype).mT
        if given:
            to_k, to_v = (mixed @ t for t in to_sorted)
        else:
            to_k, to_v = (
                torch.baddbmm(to[:, :, :size].flatten(2), mixed, t)
                for to, t in zip((to_keys, to_values), to_sorted, strict=True)
            )
        return to_order, to_k.view(k.shape), to_v.view(v.shape), None, None
