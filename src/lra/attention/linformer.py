"""Linformer (Wang et al. 2020, arXiv:2006.04768, section 4 and equation 7).

google-research/long-range-arena is `sharing="key-value"` with k = 16: one Xavier-uniform projection
(max_len, k) in each layer. Its parameter count includes it, and its initialisation is the same. It
ignores padding, so that it mixes padding's keys and values in; here they are zeros.
mlpen/Nystromformer is `sharing="layers-by-head"`, `std=0.02` with k = 256.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead

INFO = Info("low rank", "Wang et al. 2020, arXiv:2006.04768", "O(N k)", causal=False)


class Attention(MultiHead):
    """softmax(q (E k)^T / sqrt(D)) F v, where E and F (k, N) project k and v along the length

    k: rows of E and F. A sequence of N tokens uses their first N columns. Masked tokens are zeros.
    sharing: who shares a projection (section 4, "Additional Efficiency Techniques"). `none`: every
    head has one for keys and one for values. `headwise`: all heads share these two. `key-value`:
    each layer has one. `layerwise`: all layers share one. `layers-by-head`: every head has one for
    both keys and values, and all layers share them.
    std: the projections are normal with this deviation; None: Xavier-uniform.
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
        k: int = 16,
        sharing: Literal[
            "none", "headwise", "key-value", "layerwise", "layers-by-head"
        ] = "key-value",
        std: float | None = None,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.sharing = sharing
        kinds = {"none": 2 * heads, "headwise": 2, "layers-by-head": heads}.get(sharing, 1)
        self.projection = nn.Parameter(torch.empty(kinds, k, max_len))
        if std is None:
            bound = math.sqrt(6 / (k + max_len))  # Xavier's, for each of them
            nn.init.uniform_(self.projection, -bound, bound)
        else:
            nn.init.normal_(self.projection, std=std)

    def tie(self, first: Attention) -> None:
        if self.sharing in ("layerwise", "layers-by-head"):
            self.projection = first.projection

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q = self.split_heads(self.query(x))
        if mask is not None:
            x = x * mask[:, :, None]
        projection = self.projection[..., : x.shape[1]]  # (kinds, k, N)
        if self.sharing in ("none", "layers-by-head"):
            matrices = projection.chunk(2) if self.sharing == "none" else [projection] * 2
            k, v = (
                matrix @ self.split_heads(_zeros_where_masked(layer, x, mask))
                for matrix, layer in zip(matrices, (self.key, self.value), strict=True)
            )  # (B, H, k, D)
        else:
            # E (x W) = (E x) W: projecting the length first leaves k rows for W
            short = projection[:, None] @ x  # (kinds, B, k, dim)
            k, v = (
                self.split_heads(_of_rows(layer, short[kind], projection[kind], mask))
                for kind, layer in ((0, self.key), (-1, self.value))
            )
        return self.merge(scaled_dot_product_attention(q, k, v, dropout_p=self.drop))


def _zeros_where_masked(layer: nn.Linear, x: Tensor, mask: Tensor | None) -> Tensor:
    """x W + b of x (B, N, dim), which is zero there, without b there -> (B, N, H D)"""
    out = layer(x)
    return out if mask is None or layer.bias is None else out * mask[:, :, None]


def _of_rows(layer: nn.Linear, rows: Tensor, matrix: Tensor, mask: Tensor | None) -> Tensor:
    """E (x W + b) = (E x) W + (E 1) b of rows E x (B, k, dim) and E (k, N) -> (B, k, H D)"""
    out = linear(rows, layer.weight)
    if layer.bias is None:
        return out
    ones = matrix.sum(1) if mask is None else mask.to(matrix.dtype) @ matrix.T  # (k,) or (B, k)
    return out + ones[..., None] * layer.bias
