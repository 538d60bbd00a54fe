"""Poles of HiPPO-N, from which diagonal state spaces start (S4D-LegS, S5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def frequencies(size: int) -> Tensor:
    """Positive imaginary parts, falling, of the eigenvalues of HiPPO-N (size, size); all real parts
    are -1/2.

    HiPPO-N is the normal part of HiPPO-LegS (Gupta et al. 2022, arXiv:2203.14343; S5's equation 7):
    -1/2 on the diagonal, and -sqrt((2n + 1)(2k + 1)) / 2 in row n and column k < n, with the other
    sign in row k and column n. size is even, and its eigenvalues come in conjugate pairs.
    """
    scale = np.sqrt(2 * np.arange(size) + 1)
    lower = np.tril(np.outer(scale, scale) / 2, -1)
    imaginary = np.linalg.eigvalsh(1j * (lower - lower.T))  # of a skew matrix times i, rising
    return torch.tensor(imaginary[size // 2 :][::-1].copy(), dtype=torch.float32)
