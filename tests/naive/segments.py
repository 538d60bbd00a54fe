"""Transformer-XL's relative attention, by definition."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from lra.attention.shared.relative import RelativeAttention, sinusoids


def per_pair(module: RelativeAttention, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """The same with one vector R per pair, for one segment.

    q (S, H D), k and v (K, H D), allowed (S, K) -> (S, H D)
    """
    heads, size = module.content.shape
    length, keys = len(q), len(k)
    i = torch.arange(keys - length, keys, dtype=q.dtype)[:, None]
    r = sinusoids((i - torch.arange(keys)).flatten(), module.distance.in_features)
    r = rearrange(module.distance(r), "(i j) (h d) -> h i j d", h=heads, j=keys)
    q, k, v = (rearrange(t, "n (h d) -> h n d", h=heads) for t in (q, k, v))
    content = (q + module.content[:, None]) @ k.mT
    place = torch.einsum("hid,hijd->hij", q + module.place[:, None], r)
    scores = ((content + place) / size**0.5).masked_fill(~allowed, -torch.inf)
    return rearrange(scores.softmax(-1) @ v, "h n d -> n (h d)")
