"""Pooling by attention (Set Transformer, Lee et al. 2019, arXiv:1810.00825, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from lra.attention.shared.mab import MAB


class PMA(nn.Module):
    """PMA_1(Z) = MAB(s, rFF(Z)) (equation 11), s one learned seed vector

    rFF is one layer with ReLU, as inside MAB; the authors' code leaves it out here.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.seed = nn.Parameter(nn.init.xavier_uniform_(torch.empty(1, dim)))
        self.feed_forward = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.feed_forward.weight)
        nn.init.zeros_(self.feed_forward.bias)
        self.block = MAB(dim, heads)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, N, dim), mask (B, N), True for a real token, or None -> (B, dim)

        Where no token is real, what comes out is finite and means nothing.
        """
        seed = self.seed.expand(len(x), 1, -1)
        return self.block(seed, relu(self.feed_forward(x)), mask)[:, 0]
