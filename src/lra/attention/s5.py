"""S5, one diagonal state space for all channels (Smith et al. 2023, arXiv:2208.04933), and LRU."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from lra.attention import Info
from lra.attention.base import MultiHead, exact
from lra.attention.shared.hippo import frequencies
from lra.core.errors import LRAError

INFO = Info(
    "state space", "Smith et al. 2023, arXiv:2208.04933", "O(N)", causal=True, other_weights=True
)
STABLE = -1e-4  # the largest real part of a pole, as where S5's authors clip them


class Attention(MultiHead):
    """gelu(Re C s + D v), s_t = lambda s_{t-1} + B v_t complex, v and the output projected

    Without `causal`, another C reads the same recurrence from the end; both include the token.
    `s5`: `state` / 2 conjugate pairs of poles, held over each step (zero-order hold). In each of
    `blocks` blocks they start as HiPPO-N's; dt is log-uniform from dt_min to dt_max.
    `lru`: Linear Recurrent Unit (Orvieto et al. 2023, arXiv:2303.06349). `state` values of lambda
    start uniform on the ring from r_min to r_max, with phases up to max_phase.

    Different from the authors' layers: their gated output is a block's, not here. S5's real parts
    are clipped, which its code does for images only, and B and C are normal, not truncated normal:
    then the eigenvectors of HiPPO-N, which are unitary, change nothing. `heads` is not used, for
    the papers have none. `dropout` does nothing: there are no attention weights.
    projections: False leaves out v's and the output's, and gelu, as the authors' layers do in their
    blocks; qkv_dim does nothing then.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        max_len: int,
        *,
        causal: bool = False,
        qkv_dim: int | None = None,
        dropout: float = 0.0,
        variant: Literal["s5", "lru"] = "s5",
        state: int = 64,
        blocks: int = 1,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 6.28,
        projections: bool = True,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        del self.query, self.key
        self.projections = projections
        width, directions = self.value.out_features if projections else dim, 1 if causal else 2
        if not projections:
            del self.value, self.out
        if variant == "s5":
            self.poles = Held(state, blocks, dt_min, dt_max)
            kept, self.scale, inputs = state // 2, 2.0, state  # C s + its conjugate is 2 Re C s
        else:
            self.poles = Ring(state, r_min, r_max, max_phase)
            kept, self.scale, inputs = state, 1.0, width
        # real and imaginary parts
        self.b = nn.Parameter(torch.randn(kept, width, 2) / math.sqrt(2 * inputs))
        self.c = nn.Parameter(torch.randn(directions, width, kept, 2) / math.sqrt(state))
        self.d = nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        v = self.value(x) if self.projections else x  # (B, N, C)
        if mask is not None:
            v = v * mask[:, :, None]
        decay, gain = self.poles()  # (P,)
        b = torch.view_as_real(gain[:, None] * torch.view_as_complex(self.b))
        inputs = exact(linear(v, rearrange(b, "p c parts -> (p parts) c")))
        inputs = torch.view_as_complex(rearrange(inputs, "b n (p parts) -> b n p parts", parts=2))
        y = self.d * v
        for c, backward in zip(self.c, (False, True), strict=False):
            states = torch.view_as_real(Scan.apply(inputs, decay, backward)).flatten(2)
            # Re c s = Re c Re s - Im c Im s
            c = torch.stack([self.scale * c[..., 0], -self.scale * c[..., 1]], dim=-1)
            y = y + linear(states, c.flatten(1))
        return self.out(gelu(y)) if self.projections else y


class Held(nn.Module):
    """Poles a of a continuous system and its steps: forward() -> exp(dt a), (exp(dt a) - 1) / a"""

    def __init__(self, state: int, blocks: int, dt_min: float, dt_max: float) -> None:
        super().__init__()
        if short := -state % (2 * blocks):
            raise LRAError(
                f"options.state: {state} is not whole pairs of poles in each of {blocks} blocks; "
                f"{state + short} is"
            )
        low, high = math.log(dt_min), math.log(dt_max)
        self.log_dt = nn.Parameter(low + (high - low) * torch.rand(state // 2))
        self.a_real = nn.Parameter(torch.full((state // 2,), -0.5))
        self.a_imag = nn.Parameter(frequencies(state // blocks).repeat(blocks))

    def forward(self) -> tuple[Tensor, Tensor]:
        a = torch.complex(self.a_real.clamp(max=STABLE), self.a_imag)
        step = self.log_dt.exp() * a
        return step.exp(), step.expm1() / a


class Ring(nn.Module):
    """lambda = exp(-exp(nu) + i exp(theta)) of LRU and its gain: forward() -> lambda, exp(gamma)

    At the start |lambda|^2 is uniform, so that lambda is uniform on the ring, and exp(gamma) is
    sqrt(1 - |lambda|^2), which keeps white noise at its variance.
    """

    def __init__(self, state: int, r_min: float, r_max: float, max_phase: float) -> None:
        super().__init__()
        square = r_min**2 + (r_max**2 - r_min**2) * torch.rand(state)
        square = square.clamp(1e-6, 1 - 1e-6)  # logarithms of both ends are finite
        self.nu_log = nn.Parameter((-0.5 * square.log()).log())
        self.theta_log = nn.Parameter((max_phase * torch.rand(state).clamp(min=1e-6)).log())
        self.gamma_log = nn.Parameter(0.5 * torch.log1p(-square))

    def forward(self) -> tuple[Tensor, Tensor]:
        decay = torch.complex(-self.nu_log.exp(), self.theta_log.exp()).exp()
        return decay, self.gamma_log.exp()


class Scan(torch.autograd.Function):
    """s_t = decay s_{t-1} + u_t, or from the end s_t = decay s_{t+1} + u_t

    apply(u (B, N, P), decay (P,), backward) -> s (B, N, P). The gradient of u is the scan of s's
    from the other end.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, decay: Tensor, backward: bool) -> Tensor:
        states = scan(u, decay, backward)
        ctx.save_for_backward(states, decay)
        ctx.direction = backward
        return states

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        states, decay = ctx.saved_tensors
        grad = scan(grad, decay.conj(), not ctx.direction)
        if ctx.direction:
            to, seen = grad[:, :-1], states[:, 1:]
        else:
            to, seen = grad[:, 1:], states[:, :-1]
        return grad, (to * seen.conj()).sum((0, 1)), None


def scan(u: Tensor, decay: Tensor, backward: bool) -> Tensor:
    """`Scan`'s states, by sums over pairs of pairs and back (Blelloch 1990): about 2 N products."""
    s, n = u.clone(), u.shape[1]

    def add(first: int, distance: int, count: int) -> None:
        """At every 2 distance-th of `count` places from `first`, what is `distance` before it."""
        start = n - 1 - first - 2 * distance * (count - 1) if backward else first
        span = 2 * distance * (count - 1) + 1
        before = start + distance if backward else start - distance
        source = s[:, before : before + span : 2 * distance]
        s[:, start : start + span : 2 * distance].addcmul_(source, powers[distance])

    powers, distance = {1: decay}, 1
    while 2 * distance <= n:
        add(2 * distance - 1, distance, n // (2 * distance))
        powers[2 * distance] = powers[distance].square()
        distance *= 2
    while distance := distance // 2:
        if n >= 3 * distance:
            add(3 * distance - 1, distance, (n - distance) // (2 * distance))
    return s
