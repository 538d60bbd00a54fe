"""Set Transformer's induced attention, by definition."""

from __future__ import annotations

import torch
from torch import Tensor

from lra.attention.set import Attention
from naive import mab


def attention(module: Attention, x: Tensor, mask: Tensor) -> Tensor:
    """The same, example by example and head by head; zeros where an example has no real token."""
    outs = []
    for tokens, real in zip(x, mask, strict=True):
        read = mab.block(module.induced, module.points, tokens[real])
        outs.append(mab.cross(module, tokens, read) if real.any() else torch.zeros_like(tokens))
    return torch.stack(outs)
