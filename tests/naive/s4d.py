"""S4D and its layer, one token after the other."""

from __future__ import annotations

import torch
from torch import Tensor


def layer(v: Tensor, a: Tensor, dt: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """v (B, N, C) -> (B, N, C), of poles a (C, P), steps dt (C,), c (1 or 2, C, P) and d (C,).

    The second c is of the tokens that follow, from the next one on.
    """
    decay = (dt[:, None] * a).exp()
    b = (decay - 1) / a  # of a system whose input is held over each step
    y = d * v + 2 * (c[0] * states(v, decay, b)).real.sum(-1)
    if len(c) > 1:
        following = states(v.flip(1), decay, b).flip(1)[:, 1:]
        y[:, :-1] += 2 * (c[1] * decay * following).real.sum(-1)
    return y


def states(v: Tensor, decay: Tensor, b: Tensor) -> Tensor:
    """s_t = decay s_{t-1} + b v_t, (B, N, C, P)"""
    state, found = 0, []
    for token in v.unbind(1):
        state = decay * state + b * token[..., None]
        found.append(state)
    return torch.stack(found, 1)
