"""minGRU, token by token and in log-space (Feng et al. 2024, section 3.1 and appendix B)."""

from __future__ import annotations

import torch
from torch import Tensor


def candidate(x: Tensor) -> Tensor:
    """g of appendix B.3: positive, so that it has a logarithm"""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


def states(z: Tensor, c: Tensor) -> Tensor:
    """h_t = (1 - z_t) h_(t-1) + z_t c_t of gates z and candidates c (B, N, W)"""
    h = torch.zeros_like(c[:, 0])
    outs = []
    for t in range(z.shape[1]):
        h = (1 - z[:, t]) * h + z[:, t] * c[:, t]
        outs.append(h)
    return torch.stack(outs, dim=1)


def states_in_log_space(z: Tensor, c: Tensor) -> Tensor:
    """The same by the paper's parallel scan, of positive c (appendix B.2)"""
    total = (1 - z).log().cumsum(1)
    return (total + ((z * c).log() - total).logcumsumexp(1)).exp()
