"""Set Transformer's induced attention (Lee et al. 2019, arXiv:1810.00825, section 3.1).

Not one of the arena's official models. 32 inducing points are the authors' number for point clouds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lra.attention import Info
from lra.attention.base import MultiHead
from lra.attention.shared import mab
from lra.attention.shared.mab import MAB

INFO = Info("memory", "Lee et al. 2019, arXiv:1810.00825", "O(N inducing)", causal=False)


class Attention(MultiHead):
    """Multihead(X, H, H) with H = MAB(I, X) (equations 9 and 10)

    inducing: rows of I, which each layer learns. They attend to the real tokens, which gives H.
    The encoder's residual, norms and feed-forward network take the place of those of equation 9's
    outer MAB.
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
        inducing: int = 32,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.points = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inducing, dim)))
        self.induced = MAB(dim, heads, qkv_dim, dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        points = self.points.expand(len(x), -1, -1)
        return mab.cross(self, x, self.induced(points, x, mask))
