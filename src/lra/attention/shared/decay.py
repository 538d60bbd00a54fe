"""Sums over tokens whose weights decay with every token between, in linear time.

A decay is a scalar per head and token. Within chunks it is the masked product of the state space
duality (Dao and Gu 2024, arXiv:2405.21060, section 6 and listing 1), between chunks a recurrence of
their states. Shapes: G chunks of S tokens, K the size of queries and keys, P that of values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra.attention.base import pad_length

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

    q, k: (B, H or 1, N, K); 1: shared by all heads. v: (B, H, N, P).
    forward: (B, H, N), each at most 0: what decays from token t - 1 to t, so at 0 it is unused.
    backward: what decays from token t to t - 1, or None, so that nothing is seen of later tokens.
    A decay (1, H, 1) is that of every token. In the precision of what is given.
    """
    n, two_sided = v.shape[2], backward is not None
    size = min(CHUNK, n)
    q, k, v = (
        pad_length(t, size, dim=2).unflatten(2, (-1, size)).contiguous() for t in (q, k, v)
    )  # contiguous once, not in every product
    ahead = Decay(forward, size)
    if two_sided:
        back = ahead if backward is forward else Decay(backward, size)
        exponents = ahead.between + back.between.mT  # each is 0 where the other is not
    else:
        later = torch.ones(size, size, dtype=torch.bool, device=v.device).triu(1)
        exponents = ahead.between.masked_fill(later, float("-inf"))  # before exp: no inf - inf
    out = (q @ k.mT * exponents.exp()) @ v  # (B, H, G, S, P)
    if n > size:
        # queries and keys decay, not what is written and read, which is wider in mamba2
        out += (q * ahead.from_start) @ carried(k * ahead.to_end, v, ahead.total)
        if two_sided:
            after = carried(k * back.from_start, v, back.total, backwards=True)
            out += (q * back.to_end) @ after
    return out.flatten(2, 3)[:, :, :n]


def quasiseparable(v: Tensor, *sides: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """sum over s < t of (q_(t-1) . k_s) w_s v_s exp(logarithms of all decays strictly between s and
    t), and the same from the other side, over s > t with q_(t+1) (Hwang et al. 2024, section 3).

    v and the result (B, H, N, P). sides, the earlier and the later one: q, k (B, N, K), shared by
    all heads, w and the logarithms of decays (B, H, N). In the precision of what is given.
    """
    n = v.shape[2]
    size = min(CHUNK, n)
    v = pad_length(v, size, dim=2).unflatten(2, (-1, size)).contiguous()
    weights, out = [], []
    for backwards, (q, k, w, log_decay) in enumerate(sides):
        q = pad(q[:, 1:], (0, 0, 0, 1)) if backwards else pad(q[:, :-1], (0, 0, 1, 0))
        q, k = (pad_length(t, size, dim=1).unflatten(1, (-1, size))[:, None] for t in (q, k))
        w, log_decay = (pad_length(t, size, dim=2).unflatten(2, (-1, size)) for t in (w, log_decay))
        within, reading, writing = strictly_between(log_decay, bool(backwards))
        weights.append(q @ k.mT * (within * w[..., None, :]))  # (B, H, G, S, S)
        if n > size:
            k = k * (writing * w[..., None])
            out.append((q * reading) @ carried(k, v, log_decay.sum(3), bool(backwards)))
    return sum(out, sum(weights) @ v).flatten(2, 3)[:, :, :n]


class Decay:
    """Decays within chunks: log_decay (B, H, N), or (1, H, 1) of every token"""

    def __init__(self, log_decay: Tensor, size: int) -> None:
        if log_decay.shape[2] == 1:
            log_decay = log_decay[..., None].expand(-1, -1, 1, size)
        else:
            log_decay = pad_length(log_decay, size, dim=2).unflatten(2, (-1, size))
        self.between = segment_sums(log_decay)  # (B, H, G, S, S)
        from_start = self.between[..., 0] + log_decay[..., :1]  # the first token's, too
        self.total = from_start[..., -1]  # (B, H, G)
        self.from_start = from_start.exp()[..., None]  # (B, H, G, S, 1)
        self.to_end = self.between[..., -1, :].exp()[..., None]


def segment_sums(t: Tensor, backwards: bool = False) -> Tensor:
    """(..., S) -> (..., S, S): the sum of t from s + 1 to r in row r and column s, 0 for r <= s

    Backwards: from s - 1 down to r, 0 for r >= s.

    Not the difference of two running sums, in which a large one hides a small. A product: cumsum of
    floats is refused on a GPU where algorithms must be deterministic.
    """
    size = t.shape[-1]
    ones = torch.ones(size, size, dtype=t.dtype, device=t.device)
    if backwards:
        return ones.triu() @ (t[..., None] * ones.triu(1))
    return ones.tril() @ (t[..., None] * ones.tril(-1))


def carried(k: Tensor, v: Tensor, total: Tensor, backwards: bool = False) -> Tensor:
    """The decayed sum of k v^T over all earlier chunks, (B, H, G, K, P); backwards: all later ones.

    k (B, H, G, S, K) decayed to the chunk's end, v (B, H, G, S, P), total (B, H, G or 1)
    """
    states = before((k.mT @ v).flatten(3), total.expand(-1, -1, v.shape[2]), backwards)
    return states.unflatten(3, (k.shape[-1], v.shape[-1]))


def before(states: Tensor, log_decay: Tensor, backwards: bool) -> Tensor:
    """The sum over all earlier h of states_h times the decays between h and g: (B, H, G, M)

    states (B, H, G, M), log_decay (B, H, G); backwards: over all later h.

    By products with triangular matrices of up to CHUNK rows, and so on for what reaches the next
    product.
    """
    count = states.shape[2]
    size = min(CHUNK, count)
    states, log_decay = (
        pad_length(t, size, dim=2).unflatten(2, (-1, size)) for t in (states, log_decay)
    )
    within, reading, writing = strictly_between(log_decay, backwards)
    out = within @ states  # (B, H, groups, size, M)
    if count > size:
        ends = (writing.mT @ states)[:, :, :, 0]  # (B, H, groups, M)
        out.addcmul_(reading, before(ends, log_decay.sum(3), backwards)[:, :, :, None])
    return out.flatten(2, 3)[:, :, :count]


def strictly_between(log_decay: Tensor, backwards: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Decays of a chunk (..., S) between what is written at s and read at t > s (backwards: t < s):
    within the chunk (..., S, S), zero elsewhere; from its start to t, and from s to its end, each
    (..., S, 1). Neither t's nor s's own decay counts.
    """
    ones = torch.ones(*log_decay.shape[-1:] * 2, dtype=log_decay.dtype, device=log_decay.device)
    side = ones.triu(1) if backwards else ones.tril(-1)
    own = log_decay[..., None]
    within = (side @ (own * side)).exp() * side
    return within, (side @ own).exp(), (side.mT @ own).exp()
