"""What all step forms share: the state, its caches, and the form that recomputes.

For shape letters see lra.attention.base; n are the tokens so far.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

ROOM = 64  # tokens, at least, that a new cache has room for beyond those it holds


class State(NamedTuple):
    """What a layer keeps of the tokens so far"""

    n: int  # tokens so far
    tensors: tuple[Tensor, ...]

    @property
    def bytes(self) -> int:
        """Of what the tensors hold, without the room that caches have to grow."""
        return sum(t.numel() * t.element_size() for t in self.tensors)


class Steps:
    """A layer one token at a time, in the precision of its weights.

    A step may write into the tensors of the state that it is given, so go on from the state that it
    returns. A form defines `after` and `advance`.
    """

    def __init__(self, layer: Any, dim: int) -> None:
        """What depends on the weights alone is computed here, once."""
        self.layer: Any = layer  # of the form's own mechanism
        self.dim = dim

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        """The state's tensors after the tokens x (B, N, dim), N from 0, in parallel"""
        raise NotImplementedError

    def advance(self, x: Tensor, state: State, *stream: Tensor) -> tuple[Tensor, Any]:
        """The output of the next token x (B, 1, dim), and the tensors with that token"""
        raise NotImplementedError

    @torch.no_grad()
    def start(self, batch: int) -> State:
        """Of no tokens yet"""
        like = next(self.layer.parameters())
        return State(0, self.after(like.new_zeros(batch, 0, self.dim)))

    @torch.no_grad()
    def step(self, x: Tensor, state: State, *stream: Tensor) -> tuple[Tensor, State]:
        """The next token x (B, 1, dim) -> its output (B, 1, dim), and the state with it.

        stream: as the layer's forward is given it, where `gates_residual` is set.
        """
        y, tensors = self.advance(x, state, *stream)
        return y, State(state.n + 1, tuple(tensors))

    @torch.no_grad()
    def prefill(self, x: Tensor, *stream: Tensor) -> tuple[Tensor, State]:
        """x (B, N, dim) -> outputs (B, N, dim) by the parallel form, and the state after them.

        Unless a form says otherwise, what the state holds is projected a second time, as the
        layer's forward keeps nothing.
        """
        return self.layer(x, None, *stream), State(x.shape[1], self.after(x))

    @torch.no_grad()
    def state_bytes(self, n: int) -> int:
        """Exactly, of one sequence's state after n tokens; nothing is computed or allocated."""
        with FakeTensorMode(allow_non_fake_inputs=True):
            x = next(self.layer.parameters()).new_empty(1, n, self.dim)
            return State(n, self.after(x)).bytes


class Recomputed(Steps):
    """All inputs so far; a step is the parallel form of all of them, of which the last counts.

    For mechanisms in which a later token changes what an earlier one sees (reformer, routing): an
    output is that of the token as the last one, and stays. And for those without a form of their
    own.
    """

    def after(self, x: Tensor) -> tuple[Tensor, ...]:
        return (cached(x),)

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        inputs = append(state.tensors[0], x)
        return self.layer(inputs)[:, -1:], (inputs,)


def cached(t: Tensor) -> Tensor:
    """t (..., n, D) as the beginning of a buffer with room for more: what `append` takes."""
    n = t.shape[-2]
    buffer = t.new_empty(*t.shape[:-2], n + max(n, ROOM), t.shape[-1])
    held = buffer[..., :n, :]
    return held.copy_(t)


def append(cache: Tensor, new: Tensor) -> Tensor:
    """cache (..., n, D), of `cached` or `append` or its last tokens, with new (..., m, D) behind.

    In place where the buffer has room, so a token costs no copy of the tokens before.
    """
    n, size = cache.shape[-2:]
    total = n + new.shape[-2]
    capacity = cache.stride(-3) // size
    if cache.storage_offset() // size + total > capacity:
        cache = cached(cache)
    longer = cache.as_strided(
        (*cache.shape[:-2], total, size), cache.stride(), cache.storage_offset()
    )
    longer[..., n:, :] = new
    return longer


def last(cache: Tensor, count: int) -> Tensor:
    """The last `count` tokens of cache (..., n, D)"""
    return cache[..., cache.shape[-2] - count :, :]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """q (B, H, 1, D), k and v (B, H, n, D), bias of scores (broadcast to B, H, 1, n) or a mask"""
    return scaled_dot_product_attention(q, k, v, bias)
