"""Segments with a memory, token by token: Transformer-XL and Compressive Transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lra.attention.base import all_real
from lra.attention.steps.base import State, append, attend, cached, last
from lra.attention.steps.cached import Cached


class XL(Cached):
    """Keys and values of the own segment and of those in memory"""

    def __init__(self, layer: Any, dim: int) -> None:
        super().__init__(layer, dim)
        self.segments = getattr(layer, "memory_segments", 1)
        # W_kR R / sqrt(D) (H, K, D) of the distances K - 1, ..., 0
        self.places = layer.relative.positions(0, self.most())

    def most(self) -> int:
        """Keys that a query sees at most"""
        return (1 + self.segments) * self.layer.segment

    def kept(self, n: int) -> int:
        size = self.layer.segment
        return n - max(0, n // size - self.segments) * size

    def attended(self, x: Tensor, k: Tensor, v: Tensor, n: int) -> Tensor:
        q = self.split(self.layer.query, x)
        relative = self.layer.relative
        content, place = (q + bias[:, None] for bias in (relative.content, relative.place))
        return attend(content, k, v, place @ last(self.places, k.shape[2]).mT)


class Compressive(XL):
    """And keys and values of slots (B, H, m, D), and the tokens that are no whole slot yet

    Slots are made as soon as their tokens are there, and seen two segments later.
    """

    def most(self) -> int:
        slots = self.layer.compressed_segments * self.layer.segment // self.layer.rate
        return super().most() + slots

    def first_slot(self, n: int) -> int:
        """That the token after n others sees"""
        layer = self.layer
        oldest = max(0, n // layer.segment - 1 - layer.compressed_segments)
        return oldest * layer.segment // layer.rate

    def slots(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, N / rate, D) of the slots of x (B, N, dim)"""
        slots = self.layer.compress(x[:, None], all_real(x)[:, None])[:, 0]
        return self.split(self.layer.key, slots), self.split(self.layer.value, slots)

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        n, rate = x.shape[1], self.layer.rate
        whole = n - n % rate
        slots = self.slots(x[:, self.first_slot(n) * rate : whole])
        return (*super().after(x), *map(cached, slots), cached(x[:, whole:]))

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        *own, partial = state.tensors
        own, slots, layer, n = own[:2], own[2:], self.layer, state.n
        own = [append(*pair) for pair in zip(own, self.keys(x, n), strict=True)]
        seen = max(0, n // layer.segment - 1) * layer.segment // layer.rate - self.first_slot(n)
        pairs = zip(slots, own, strict=True)
        rows = (torch.cat([slot[:, :, :seen], t], dim=2) for slot, t in pairs)
        y = layer.merge(self.attended(x, *rows, n))
        n, partial = n + 1, append(partial, x)
        if n % layer.rate == 0:
            slots = [append(*pair) for pair in zip(slots, self.slots(partial), strict=True)]
            partial = last(partial, 0)
        left = n // layer.rate - self.first_slot(n)
        kept = self.kept(n)
        return y, (*(last(t, kept) for t in own), *(last(t, left) for t in slots), partial)
