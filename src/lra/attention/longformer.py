"""Longformer (Beltagy et al. 2020, arXiv:2004.05150, section 3): sliding window and global tokens.

Without the paper's dilation, which only its character language model uses. Here the first token is
global. It is the CLS token where there is one, as in the paper's classifiers. Under MEAN pooling
there is none, and it is the first pixel or byte; `global_tokens: 0` leaves it ordinary. In
google-research/long-range-arena no token is global (`variant: official`).
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, allowed_keys
from lra.attention.shared.blocks import attend, split
from lra.core.errors import LRAError

INFO = Info(
    "fixed pattern",
    "Beltagy et al. 2020, arXiv:2004.05150",
    "O(N window)",
    causal=True,
    other_weights=True,
)
BLOCK = 128  # fewest queries that share one gathered run of keys; changes speed only


class Attention(MultiHead):
    """Every token sees window / 2 tokens on either side, itself and the global tokens.

    The first `global_tokens` tokens are global: they see all tokens, through projections of their
    own, and all tokens see them as ordinary keys.

    variant: `official` has no global token. Its window is the token itself, (window - 1) / 2 before
    it, rounded down, and window / 2 after it. The global projections exist, as in that code, but
    are not used and get no gradient.
    causal: a token sees itself and the `window` tokens before it, as in the paper's language model.
    There are no global tokens, as they would show what comes later.
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
        window: int = 512,
        global_tokens: int | Literal[0] = 1,
        variant: Literal["paper", "official"] = "paper",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        if window % 2 and variant == "paper":
            raise LRAError(f"options.window: {window} is odd, and its halves lie on either side")
        self.before, self.after = (window, 0) if causal else (window // 2, window // 2)
        if variant == "official":
            self.before = (window - 1) // 2
        self.global_tokens = 0 if causal or variant == "official" else global_tokens
        self.reach = None if self.global_tokens else max(self.before, self.after)
        if self.global_tokens or variant == "official":
            width = qkv_dim or dim
            self.global_query = nn.Linear(dim, width, bias=False)
            self.global_key = nn.Linear(dim, width, bias=False)
            self.global_value = nn.Linear(dim, width, bias=False)
            for projection in (self.global_query, self.global_key, self.global_value):
                nn.init.xavier_uniform_(projection.weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Shape letters: K keys gathered for a block, E = H D, A global tokens."""
        batch, n = x.shape[:2]
        first = min(self.global_tokens, n)  # A
        seen, allowed = self.pattern(n, first, x.device)  # (G, K), (1, G, S, K)
        if mask is not None:
            allowed = allowed & mask[:, seen][:, :, None]
        # rows of a table: look-up and its backward are faster than indexing or slicing
        near = seen[:, first:] + n * torch.arange(batch, device=x.device)[:, None, None]
        k, v = self.key(x), self.value(x)
        keys, values = (embedding(near, t.flatten(0, 1)) for t in (k, v))  # (B, G, stretch, E)
        if first:
            # not by the table: its backward in bfloat16 would add up too many blocks one by one
            far = (t[:, None, :first].expand(-1, len(seen), -1, -1) for t in (k, v))
            keys, values = (torch.cat(t, 2) for t in zip(far, (keys, values), strict=True))
        queries = split(self.query(x), allowed.shape[2])  # (B, G, S, E)
        out = attend(queries, keys, values, self.heads, allowed, self.drop)[:, :n]
        if first:
            out = torch.cat([self.see_all(x[:, :first], x, mask), out[:, first:]], dim=1)
        return self.out(out)

    def pattern(self, n: int, first: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The tokens that each block of queries gathers, (G, K), and which each query sees.

        The second is (1, G, S, K). The global tokens come first, then a run without gaps that lies
        within the sequence.
        """
        size = min(max(BLOCK, self.before), n)  # keys at most 3 times the queries
        stretch = min(size + self.before + self.after, n)
        query = torch.arange(n + -n % size, device=device).unflatten(0, (-1, size))  # (G, S)
        start = (query[:, :1] - self.before).clamp(0, n - stretch)
        near = start + torch.arange(stretch, device=device)
        far = torch.arange(first, device=device).expand(len(near), -1)
        distance = near[:, None] - query[:, :, None]  # (G, S, stretch)
        allowed = (distance >= -self.before) & (distance <= self.after)
        allowed &= (near >= first)[:, None]  # else a global token would count twice
        allowed = torch.cat([allowed.new_ones(*query.shape, first), allowed], dim=-1)
        return torch.cat([far, near], dim=1), allowed[None]

    def see_all(self, x: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Attention by the global projections from x (B, A, dim) to tokens (B, N, dim) -> (B, A, E)

        q . (W x) = (W^T q) . x, and a weighted sum of W x is W times the weighted sum of x. So the
        N tokens need no projection. A bias of keys adds the same to all scores of a query, which
        changes nothing (its gradient is 0); dropout does not act on that of values.
        """
        to_key, to_value = (
            rearrange(p.weight, "(h d) c -> h d c", h=self.heads)
            for p in (self.global_key, self.global_value)
        )
        q = self.split_heads(self.global_query(x))
        q = rearrange(q @ to_key, "b h a c -> b 1 (h a) c")
        allowed, tokens = allowed_keys(mask), tokens[:, None]
        scale = to_key.shape[1] ** -0.5
        out = scaled_dot_product_attention(q, tokens, tokens, allowed, self.drop, scale=scale)
        out = rearrange(out, "b 1 (h a) c -> b h a c", h=self.heads) @ to_value.mT
        out = rearrange(out, "b h a d -> b a (h d)")
        return out if self.global_value.bias is None else out + self.global_value.bias
