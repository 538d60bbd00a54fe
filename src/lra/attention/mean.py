"""Uniform mixing: every token sees the mean of all."""

from __future__ import annotations

from torch import Tensor

from lra.attention import Info
from lra.attention.base import MultiHead, all_real, exact, pad_length, sum_before

INFO = Info("baseline", "a baseline of this project", "O(N)", causal=True)

CHUNK = 64  # tokens of a causal chunk


class Attention(MultiHead):
    """The mean of v over the real tokens, causal: over those up to each token

    It is softmax attention whose scores are all alike, so there are no queries and keys. `dropout`
    does nothing, for there are no weights to drop.
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
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        del self.query, self.key
        self.causal = causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        real = (all_real(x) if mask is None else mask)[:, :, None]
        v = exact(self.value(x)) * real  # (B, N, H D)
        if self.causal:
            return self.out(running_sum(v) / real.cumsum(1).clamp(min=1))
        mean = v.sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)  # (B, 1, H D)
        return self.out(mean).expand(-1, x.shape[1], -1)


def running_sum(v: Tensor) -> Tensor:
    """The sum of v (B, N, E) up to each token: within chunks, and of the chunks before."""
    n = v.shape[1]
    v = pad_length(v, CHUNK, dim=1).unflatten(1, (-1, CHUNK))  # (B, chunks, CHUNK, E)
    sums = v + sum_before(v, dim=2)
    return (sums + sum_before(sums[:, :, -1:], dim=1)).flatten(1, 2)[:, :n]
