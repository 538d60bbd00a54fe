"""Synthesizer (Tay et al. 2020, arXiv:2005.00743, section 3): scores without comparing tokens.

The official code of the arena is `random+dot`: it sums two score matrices without weights. The
paper's mixtures have learnt weights of sum 1, which `mixture="learnt"` gives. No layer has biases,
as in the official code. That code's `dense` reshapes (N, H, max_len) scores as if they were
(H, N, max_len) and shares the second layer between heads; here each head has its own, as in the
paper.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop_out
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, allowed_keys, lower_triangle
from lra.attention.shared.hidden import minus_infinity

INFO = Info("low rank", "Tay et al. 2020, arXiv:2005.00743", "O(N^2)", causal=True)


class Attention(MultiHead):
    """softmax(S) v, where S are the scores that `mode` names or, with a `+`, the sum of two

    mode: scores of each head. `dot`: q k^T / sqrt(D). `random`: R, a trained (N, N) matrix that all
    inputs share; `fixed-random`: R untrained; `factorised-random`: R1 R2^T, both (N, k). `dense`:
    W2 relu(W1 x), N values for each token; `factorised-dense`: two such vectors of a and b values,
    about sqrt(max_len) each, whose a b products are the scores. Matrices are made for max_len
    tokens; a sequence of N tokens uses their first N rows and columns.
    k: the rank of factorised-random, 8 as in the paper.
    mixture: `sum`, or `learnt` weights of the two scores, softmax of one parameter for each.
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
        mode: Literal[
            "random+dot",
            "dense+dot",
            "random+dense",
            "factorised-random+dot",
            "factorised-dense+dot",
            "random",
            "fixed-random",
            "dense",
            "factorised-random",
            "factorised-dense",
        ] = "random+dot",
        k: int = 8,
        mixture: Literal["sum", "learnt"] = "sum",
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.parts = causal, mode.split("+")
        if "dot" not in self.parts:
            del self.query, self.key
        size = self.value.out_features // heads
        self.minor = math.isqrt(max_len - 1) + 1  # b of factorised-dense
        major = -(-max_len // self.minor)  # a, such that a b >= max_len
        shapes = {
            "random": [(max_len, max_len)],
            "fixed-random": [(max_len, max_len)],
            "factorised-random": [(max_len, k), (max_len, k)],
            "dense": [(size, max_len)],
            "factorised-dense": [(size, major), (size, self.minor)],
            "dot": [],
        }
        self.matrices = nn.ParameterDict()  # of each part, (H, rows, columns)
        for part in self.parts:
            trained = part != "fixed-random"
            self.matrices[part] = nn.ParameterList(
                nn.Parameter(xavier(heads, *shape), trained) for shape in shapes[part]
            )
        if any("dense" in part for part in self.parts):
            self.hidden = nn.Linear(dim, self.value.out_features, bias=False)  # W1 of all heads
            nn.init.xavier_uniform_(self.hidden.weight)
        self.mixture = None
        if mixture == "learnt" and len(self.parts) > 1:
            self.mixture = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n = x.shape[1]
        v = self.split_heads(self.value(x))
        shares = self.shares()
        synthetic = [self.scores(part, x) * shares[part] for part in self.parts if part != "dot"]
        scores = sum(synthetic[1:], start=synthetic[0])  # (B or 1, H, N, N)
        allowed = allowed_keys(mask)
        if self.causal:
            allowed = lower_triangle(n, x.device, allowed)
        if allowed is not None:
            scores = scores + minus_infinity(~allowed, scores.dtype)
        if "dot" not in self.parts:
            return self.merge(drop_out(scores.softmax(-1), self.drop) @ v)
        q, k = (self.split_heads(p(x)) for p in (self.query, self.key))
        q = q * shares["dot"]
        return self.merge(scaled_dot_product_attention(q, k, v, scores.to(q.dtype), self.drop))

    def shares(self) -> dict[str, Tensor | float]:
        """The weight of each part's scores."""
        if self.mixture is None:
            return dict.fromkeys(self.parts, 1.0)
        return dict(zip(self.parts, self.mixture.softmax(0), strict=True))

    def scores(self, part: str, x: Tensor) -> Tensor:
        """The scores of one part of the mode from x (B, N, dim): (B or 1, H, N, N)"""
        n, matrices = x.shape[1], list(self.matrices[part])
        if part in ("random", "fixed-random"):
            return matrices[0][None, :, :n, :n]
        if part == "factorised-random":
            return (matrices[0][:, :n] @ matrices[1][:, :n].mT)[None]
        hidden = self.split_heads(self.hidden(x).relu())
        if part == "dense":
            return hidden @ matrices[0][..., :n]
        major = hidden @ matrices[0][..., : -(-n // self.minor)]  # (B, H, N, a)
        minor = hidden @ matrices[1]  # (B, H, N, b)
        return (major[..., None] * minor[..., None, :]).flatten(-2)[..., :n]


def xavier(heads: int, rows: int, columns: int) -> Tensor:
    """(H, rows, columns), drawn as the official initialiser draws such a shape"""
    bound = math.sqrt(6 / (heads * (rows + columns)))
    return torch.empty(heads, rows, columns).uniform_(-bound, bound)
