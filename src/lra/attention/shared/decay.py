"""Sums over tokens whose weights decay with every token between, in linear time.

A decay is a scalar per head and token. Within chunks it is the masked product of the state space
duality (Dao and Gu 2024, arXiv:2405.21060, section 6 and listing 1), between chunks a recurrence of
their states. Shapes: G chunks of S tokens, K the size of queries and keys, P that of values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lra.attention.base import pad_length
from lra.attention.shared.by_head import Read, Write
from lra.attention.shared.hidden import minus_infinity

CHUNK = 64  # tokens of a chunk; also chunks that are summed at once
STEPS = (1e-3, 0.1)  # of time, at the start: log-uniform between these
DECAYS = (1.0, 16.0)  # per unit of time, at the start: uniform between these


def initial_decay(heads: int) -> tuple[Tensor, Tensor]:
    """a_log and dt_bias (heads,) that a decay exp(-exp(a_log) softplus(x + dt_bias)) starts with in
    Mamba-2 (Dao and Gu 2024) and in Gated DeltaNet"""
    steps = torch.empty(heads).uniform_(*map(math.log, STEPS)).exp()
    dt_bias = steps + (-torch.expm1(-steps)).log()  # softplus of it is steps
    return torch.empty(heads).uniform_(*DECAYS).log(), dt_bias


def decayed(
    q: Tensor, k: Tensor, v: Tensor, forward: Tensor, backward: Tensor | None = None
) -> Tensor:
    """sum over s of (q_t . k_s) v_s exp(logarithms of all decays between s and t): (B, H, N, P)

    q, k: (B, H, N, K). v: (B, H, N, P).
    forward: (B, H, N), each at most 0: what decays from token t - 1 to t, so at 0 it is unused.
    backward: what decays from token t to t - 1, or None, so that nothing is seen of later tokens.
    A decay (1, H, 1) is that of every token. In the precision of what is given.
    """
    n = v.shape[2]
    size = min(CHUNK, n)
    q, k, v = (in_chunks(t, size).contiguous() for t in (q, k, v))  # once, not in every product
    ahead = Decays(in_chunks(forward, size), reads_own=True)
    sides = [ahead]
    if backward is None:
        decays = ahead.within()
    else:
        back = Decays(in_chunks(backward, size), backwards=True, writes_own=True)
        decays = (ahead.exponents() + back.exponents()).exp()  # each is 0 where the other is not
        sides.append(back)
    out = (q @ k.mT * decays) @ v  # (B, H, G, S, P)
    if n > size:
        for side in sides:
            out += (q * side.reading()) @ carried(k * side.writing(), v, side)
    return out.flatten(2, 3)[:, :, :n]


def quasiseparable(
    v: Tensor,
    diagonal: Tensor,
    *sides: tuple[Tensor, Tensor, Tensor, Tensor],
    reads_own: bool = False,
    at_once: int,
) -> Tensor:
    """diagonal_t v_t + sum over s < t of (q_t . k_s) w_s v_s exp(logarithms of all decays strictly
    between s and t), and the same over s > t from a second side (Hwang et al. 2024, section 3).

    v and the result (B, N, H, P), diagonal (H, 1, 1) or (H, B, N). A side: q, k (B, N, K), shared
    by all heads, w and the logarithms of decays (H, B, N).
    reads_own: s = t, too, and its own decay, as in `decayed`. at_once: heads, see by_head.
    """
    batch, n = v.shape[:2]
    size = min(CHUNK, n)
    v = pad_length(v, size, dim=1).unflatten(1, (-1, size)).flatten(0, 1)  # (B G, S, H, P)
    eye = torch.eye(size, dtype=v.dtype, device=v.device)
    weights = in_chunks(diagonal, size)[..., None] * eye
    far = []
    for backwards, (q, k, w, log_decay) in enumerate(sides):
        q, k = (in_chunks(t[None], size) for t in (q, k))  # (1, B, G, S, K)
        w, log_decay = (in_chunks(t, size) for t in (w, log_decay))
        side = Decays(log_decay, backwards=bool(backwards), reads_own=reads_own)
        scores = q @ k.mT * side.seen  # of all heads at once
        weights = torch.addcmul(weights, scores, side.exponents().exp() * w[..., None, :])
        if n > size:
            # queries and keys decay, not what is written and read, which is wider
            k = k * (side.writing() * w[..., None])
            states = Write.apply(at_once, k.flatten(1, 2), v).unflatten(1, (batch, -1))
            states = before(states.flatten(3), side.total(), side.backwards)
            states = states.view(*k.shape[:3], k.shape[-1], -1)
            far += [(q * side.reading()).flatten(1, 2), states.flatten(1, 2)]
    out = Read.apply(at_once, v, weights.flatten(1, 2), *far)
    return out.unflatten(0, (batch, -1)).flatten(1, 2)[:, :n]


def in_chunks(t: Tensor, size: int) -> Tensor:
    """t (B, H, N) or (B, H, N, any) -> (B, H, G, S) or (B, H, G, S, any), zeros at the end.

    One value of all tokens, (H, 1) or (1, H, 1), -> (H, 1, S) or (1, H, 1, S)
    """
    if t.ndim < 4 and t.shape[-1] == 1:
        return t[..., None].expand(*t.shape, size)
    return pad_length(t, size, dim=2).unflatten(2, (-1, size))


class Decays:
    """Between what is written at s and read at t in a chunk: t after s, or backwards before it.

    log (..., S): what decays at each token. Decays strictly between s and t count, and t's own with
    reads_own, s's own with writes_own.
    Not differences of running sums, in which a large one hides a small. Products: cumsum of floats
    is refused on a GPU where algorithms must be deterministic.
    """

    def __init__(
        self,
        log: Tensor,
        backwards: bool = False,
        reads_own: bool = False,
        writes_own: bool = False,
    ) -> None:
        ones = torch.ones(log.shape[-1], log.shape[-1], dtype=log.dtype, device=log.device)
        self.seen, self.written = (
            ones.triu(1 - own) if backwards else ones.tril(own - 1)
            for own in (reads_own, writes_own)
        )  # (S, S), 1 where s is before t, else 0
        self.log, self.backwards = log[..., None], backwards

    def exponents(self) -> Tensor:
        """(..., S, S) logarithms, 0 where s is not before t"""
        return self.seen @ (self.log * self.written)

    def within(self) -> Tensor:
        """(..., S, S), 0 where s is not before t"""
        # one tensor is saved for the gradients, where a product with `seen` would be another
        return self.exponents().add_(minus_infinity(self.seen == 0, self.seen.dtype)).exp_()

    def reading(self) -> Tensor:
        """(..., S, 1) from the chunk's start (backwards: its end) to t"""
        return (self.log.mT @ self.seen.mT).exp().mT  # one product for all chunks

    def writing(self) -> Tensor:
        """(..., S, 1) from s to its end (backwards: its start)"""
        return (self.log.mT @ self.written).exp().mT

    def total(self) -> Tensor:
        """(...) logarithms of the whole chunk's"""
        return self.log.sum((-2, -1))


def carried(k: Tensor, v: Tensor, side: Decays) -> Tensor:
    """The decayed sum of k v^T over all earlier chunks, (B, H, G, K, P); backwards: all later ones.

    k (B, H, G, S, K) decayed to the chunk's end, v (B, H, G, S, P)
    """
    states, total = (k.mT @ v).flatten(3), side.total().expand(-1, -1, v.shape[2])
    return before(states, total, side.backwards).unflatten(3, (k.shape[-1], v.shape[-1]))


def before(states: Tensor, log_decay: Tensor, backwards: bool) -> Tensor:
    """The sum over all earlier h of states_h times the decays between h and g: (B, H, G, M)

    states (B, H, G, M), log_decay (B, H, G); backwards: over all later h.

    By products with triangular matrices of up to CHUNK rows, and so on for what reaches the next
    product.
    """
    count = states.shape[2]
    size = min(CHUNK, count)
    states, log_decay = (in_chunks(t, size) for t in (states, log_decay))
    side = Decays(log_decay, backwards)
    out = side.within() @ states  # (B, H, groups, size, M)
    if count > size:
        ends = (side.writing().mT @ states)[:, :, :, 0]  # (B, H, groups, M)
        out.addcmul_(side.reading(), before(ends, side.total(), backwards)[:, :, :, None])
    return out.flatten(2, 3)[:, :, :count]
