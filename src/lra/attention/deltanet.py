"""DeltaNet (Yang et al. 2024, arXiv:2406.06484).

Option `gate`: Gated DeltaNet (Yang et al. 2025, arXiv:2412.06464).
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import linear, rms_norm, silu, softplus

from lra.attention import Info
from lra.attention.base import MultiHead, exact
from lra.attention.shared.convolution import ConvolveSilu
from lra.attention.shared.decay import initial_decay
from lra.attention.shared.delta import delta_rule
from lra.attention.shared.gated_norm import GatedNorm

INFO = Info(
    "gated recurrence",
    "Yang et al. 2024, arXiv:2406.06484",
    "O(N)",
    causal=True,
    other_weights=True,
)
EPS = 1e-5  # of the output's norm, as in the authors' code
UNIT_EPS = 1e-6  # of the norms of q and k


class Attention(MultiHead):
    """o_t = S_t^T q_t / sqrt(D) of a state S (D, D) of each head, written by the delta rule

        S_t = alpha_t (I - beta_t k_t k_t^T) S_(t-1) + beta_t k_t v_t^T

    q, k and v are convolved and go through SiLU, q and k are over their L2 norms, and beta is a
    sigmoid. Each head's output has an RMS norm.

    gate: alpha = exp(-A softplus(W x + dt_bias)) with A and dt_bias as in Mamba-2, and the output
    times SiLU of one more projection. Without it alpha is 1: a state forgets only what is written
    over. Off by default: with dim^2 more weights the layer is not of the Transformer's size, and it
    learned ListOps of `quick` less well (30.6 % beside 34.9 %, means of two seeds).
    conv: tokens of the depthwise convolutions, zeros beyond the ends and at masked tokens. A token
    sees conv // 2 before it, itself and the rest after it; causal: conv - 1 before it. None: none.
    `dropout` does nothing: there are no attention weights to drop.

    Without `causal` a second rule starts at the last token, and the outputs are summed before the
    norm, so that a token's own value is read twice. Papers have no one way: Vision-LSTM (Alkin et
    al. 2024, arXiv:2406.04303) alternates directions from block to block, LION (Afzal et al. 2025,
    arXiv:2502.16249) sums them, without a delta rule. As in ViG (Liao et al. 2024,
    arXiv:2405.18425) they have their own gates, here beta and alpha, and share the rest.

    A masked token has beta = 0 and alpha = 1: it passes the state unchanged, in both directions.

    The authors exempt a_log and dt_bias from weight decay.
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
        gate: bool = False,
        conv: int | None = 4,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        width, rules = qkv_dim or dim, heads if causal else 2 * heads
        self.beta = projection(dim, rules)
        self.norm = nn.Parameter(torch.ones(width // heads))
        self.taps = None
        if conv is not None:
            self.before = conv - 1 if causal else conv // 2
            self.taps = nn.Parameter(torch.empty(3, conv, width))
            nn.init.uniform_(self.taps, -(conv**-0.5), conv**-0.5)
        self.gate = self.alpha = None
        if gate:
            self.gate, self.alpha = projection(dim, width), projection(dim, rules)
            self.a_log, self.dt_bias = map(nn.Parameter, initial_decay(rules))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (exact(p(x)) for p in (self.query, self.key, self.value))
        gate = None if self.gate is None else exact(self.gate(x))
        beta = exact(self.beta(x)).sigmoid()
        decay = None
        if self.alpha is not None:
            decay = -self.a_log.exp() * softplus(exact(self.alpha(x)) + self.dt_bias)
        if mask is not None:  # nothing is written nor forgotten there
            real = mask[:, :, None]
            q, k, v, beta = (t * real for t in (q, k, v, beta))
            decay = None if decay is None else decay * real
        with torch.autocast(x.device.type, enabled=False):
            if self.taps is None:
                q, k, v = (silu(t) for t in (q, k, v))
            else:
                q, k, v = (
                    ConvolveSilu.apply(t, taps, None, self.before, False)
                    for t, taps in zip((q, k, v), self.taps, strict=True)
                )
            q, k, v = (self.split_heads(t) for t in (q, k, v))
            beta, decay = (
                None if t is None else rearrange(t, "b n (r h) -> r b h n", h=self.heads)
                for t in (beta, decay)
            )
            out = delta_rule(unit(q, q.shape[-1] ** -0.5), unit(k), v, beta, decay)
            out = rearrange(out, "b h n d -> b n h d")
            if gate is None:
                out = rms_norm(out, self.norm.shape, None, EPS)
            else:
                out = GatedNorm.apply(out, gate.view_as(out), EPS, False)
        weight = self.out.weight * self.norm.repeat(self.heads)  # the norm's weights, too
        return linear(out.flatten(2), weight, self.out.bias)


def projection(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def unit(t: Tensor, length: float = 1.0) -> Tensor:
    """t (B, H, N, D) over its L2 norm along the last dim, times length"""
    return Unit.apply(t, length)


class Unit(torch.autograd.Function):
    """As `unit`. The gradients need only what comes out, which the delta rule keeps, too."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, length: float) -> Tensor:
        t = t.contiguous()  # so that chunks of tokens are a view
        inverse = (t.square().sum(-1, keepdim=True) + UNIT_EPS).rsqrt()
        out = t * (inverse * length)
        ctx.save_for_backward(out, inverse)
        ctx.length = length
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out, inverse = ctx.saved_tensors
        along = (grad * out).sum(-1, keepdim=True) / ctx.length
        return (grad * ctx.length).addcmul_(out, along, value=-1).mul_(inverse), None
