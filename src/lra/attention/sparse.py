"""Sparse Transformer (Child et al. 2019, arXiv:1904.10509, sections 4.2 and 4.3), merged heads.

One softmax spans the patterns of both heads (section 4.3, equation 8); a key in both counts once.
The paper is causal. Without `causal`, as encoders need it, a token sees the pattern's later tokens,
too: `strided` is then what it would see in the sequence read forwards or backwards. `fixed` is not:
read backwards, the first tokens of a block would be its summary, and here they are the last.
google-research/long-range-arena is causal in its encoders, too (`variant: official`); it fills an
N x N mask.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import dropout as drop_out

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, exact_dtype
from lra.attention.shared.blocks import attend, neighbours, split
from lra.attention.shared.hidden import minus_infinity
from lra.core.errors import LRAError

INFO = Info(
    "fixed pattern",
    "Child et al. 2019, arXiv:1904.10509",
    "O(N stride + N^2 / stride), O(N sqrt(N)) with stride sqrt(N)",
    causal=True,
)
_ROWS = "b g s h d -> b g h s d"
_COLUMNS = "b g s h d -> b s h g d"


class Attention(MultiHead):
    """Softmax attention over the union of two patterns, one near, one far; l is `stride`.

    pattern `fixed`: the query's block of l tokens, and the last `summary` tokens (the paper's c) of
    every block. `strided`: the l tokens before and after the query, and all at a distance that is a
    multiple of l. causal: those of them that are not later than the query.
    variant: `official` is causal, whatever `causal` says, and its `fixed` pattern has the first
    token of every block besides the last ones. `official-cls` is its form with CLS pooling: the
    first token sees all and is seen by all, and the pattern starts after it.
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
        pattern: Literal["fixed", "strided"] = "fixed",
        stride: int = 128,
        summary: int = 8,
        variant: Literal["paper", "official", "official-cls"] = "paper",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        if pattern == "fixed" and summary > stride:
            raise LRAError(f"options.summary: {summary} is more than the stride of {stride} tokens")
        if variant != "paper" and pattern != "fixed":
            raise LRAError(f"options.variant: '{variant}' has the fixed pattern, not '{pattern}'")
        if variant == "official-cls" and causal:
            raise LRAError(f"options.variant: '{variant}' is not causal: the first token sees all")
        self.causal, self.pattern = causal or variant != "paper", pattern
        self.stride, self.summary = stride, summary
        self.sees_firsts = variant != "paper" and summary < stride
        self.cls = variant == "official-cls"

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        see = self.fixed if self.pattern == "fixed" else self.strided
        see = self.after_cls if self.cls else see
        return self.out(see(self.query(x), self.key(x), self.value(x), mask)[:, : x.shape[1]])

    def after_cls(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """The same as `fixed` with a first token that sees all and is seen by all."""
        if mask is None:
            mask = all_real(q[:1])
        all_keys = k[:, None], v[:, None], self.heads, mask[:, None, None]
        out = attend(q[:, None, :1], *all_keys, self.drop)
        if q.shape[1] == 1:
            return out
        first, rest = zip(*((t[:, :1], t[:, 1:]) for t in (q, k, v, mask)), strict=True)
        return torch.cat([out, self.fixed(*rest, also=first[1:])], dim=1)

    def fixed(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        also: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> Tensor:
        """q, k, v (B, N, H D), mask (B or 1, N) or None -> (B, N or more, H D)

        also: keys, values and mask of tokens that all see.

        G groups of one block or more, S tokens each. A group's keys are its own and a copy of all
        summaries, C tokens. It has about as many of its own, or the copies would grow as N^2.
        """
        n, size = q.shape[1], min(self.stride, q.shape[1])
        blocks = -(-n // size)
        lot = max(1, blocks * self.summary // size)
        if mask is None and n % (lot * size):
            mask = all_real(q[:1])
        real = None if mask is None else split(mask, lot * size)  # (B or 1, G, S)
        q, k, v = (split(t, lot * size) for t in (q, k, v))
        lots = q.shape[1]
        pattern = [self.near(lot, size, alone=blocks == 1, device=q.device)[None]]  # (1, S, S)
        if blocks > 1:
            pattern.append(self.far(lots, lot, size, q.device))
            k, v = (join(t, self.summaries(t, size)) for t in (k, v))
            real = None if real is None else join(real, self.summaries(real, size))
        if also is not None:
            pattern.append(pattern[0].new_ones(1, lot * size, also[0].shape[1]))
            k, v, real = (join(t, one) for t, one in zip((k, v, real), also, strict=True))
        groups = max(len(part) for part in pattern)  # 1, where all groups have the same pattern
        allowed = torch.cat([part.expand(groups, -1, -1) for part in pattern], dim=-1)[None]
        if real is not None:
            allowed = allowed & real[:, :, None]  # (B or 1, G, S, K)
        return attend(q, k, v, self.heads, allowed, self.drop)

    def near(self, lot: int, size: int, alone: bool, device: torch.device) -> Tensor:
        """Which keys of its group a query sees there, (S, S): its block's.

        Where all see all summaries, `far` has those of its block.
        """
        token = torch.arange(lot * size, device=device)
        seen = token[:, None] // size == token // size
        if self.causal:
            return seen.tril()
        return seen if alone else seen & (token % size < size - self.summary)

    def far(self, lots: int, lot: int, size: int, device: torch.device) -> Tensor:
        """Which summaries a query sees, (G, S, C): of earlier blocks; all, (1, S, C)."""
        block = torch.arange(lots * lot, device=device)
        of = block.repeat_interleave(self.summary + self.sees_firsts)  # (C,)
        if not self.causal:
            return torch.ones(1, lot * size, len(of), dtype=torch.bool, device=device)
        return of < block.repeat_interleave(size).view(lots, -1)[:, :, None]

    def summaries(self, t: Tensor, size: int) -> Tensor:
        """(B, G, S, ...) -> (B, C, ...): the last tokens of every block of `size`.

        Officially the first one, too.
        """
        t = t.flatten(1, 2).unflatten(1, (-1, size))
        last = t[:, :, -self.summary :]
        if self.sees_firsts:
            last = torch.cat([t[:, :, :1], last], dim=2)
        return last.flatten(1, 2)

    def strided(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q, k, v (B, N, H D), mask (B, N) or None -> (B, N or more, H D)

        In the grid of G x l tokens, near keys lie in the query's row and the rows beside it, far
        keys in its column. Each part has its own scores, N x 3 l and N x G; one softmax spans both.
        """
        size = min(self.stride, q.shape[1])
        if mask is None:
            mask = all_real(q[:1])
        q, k, v, mask = (split(t, size) for t in (q, k, v, mask))
        groups = q.shape[1]
        after = 0 if self.causal else 1
        token = torch.arange(-size, size * (1 + after), device=q.device)  # of the rows around
        distance = token - torch.arange(size, device=q.device)[:, None]
        near = (distance >= -size) & (distance <= after * size)
        # and the query itself, so that every row has something to see
        near = near & neighbours(mask, 1, after)[:, :, None] | (distance == 0)  # (B, G, l, rows)
        row = torch.arange(groups, device=q.device)
        gap = row[:, None] - row
        # keys within l tokens are near
        far = ((gap if self.causal else gap.abs()) > 1) & mask.mT[:, :, None]  # (B, l, G, G)

        q = q * (q.shape[-1] // self.heads) ** -0.5
        q, k, v = (rearrange(t, "b g s (h d) -> b g s h d", h=self.heads) for t in (q, k, v))
        k_near, v_near = (rearrange(neighbours(t, 1, after), _ROWS) for t in (k, v))
        a = rearrange(q, _ROWS) @ k_near.mT  # (B, G, H, l, rows)
        b = rearrange(q, _COLUMNS) @ rearrange(k, _COLUMNS).mT  # (B, l, H, G, G)
        # in place, as these are the largest tensors
        a += minus_infinity(~near, a.dtype)[:, :, None]
        b += minus_infinity(~far, b.dtype)[:, :, None]
        with torch.no_grad():  # softmax does not depend on it
            top = torch.maximum(a.amax(-1), rearrange(b.amax(-1), "b s h g -> b g h s"))
        a = a.sub_(top[..., None]).exp_()
        b = b.sub_(rearrange(top, "b g h s -> b s h g 1")).exp_()
        total, far_total = (t.sum(-1, dtype=exact_dtype(t)) for t in (a, b))
        total = total + rearrange(far_total, "b s h g -> b g h s")
        out = drop_out(a, self.drop) @ v_near  # (B, G, H, l, D)
        far_out = drop_out(b, self.drop) @ rearrange(v, _COLUMNS)
        out = (out + rearrange(far_out, "b s h g d -> b g h s d")) / total[..., None]
        return rearrange(out, "b g h s d -> b (g s) (h d)")


def join(own: Tensor, more: Tensor) -> Tensor:
    """Every group's own (B, G, S, ...) and what all groups have besides (B, C, ...)."""
    return torch.cat([own, more[:, None].expand(-1, own.shape[1], *more.shape[1:])], dim=2)
