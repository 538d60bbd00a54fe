"""Retention of RetNet (Sun et al. 2023, arXiv:2307.08621), in both directions as LION (Afzal et al.
2025, arXiv:2502.16249)."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, pad

from lra.attention import Info
from lra.attention.base import MultiHead, exact, exact_dtype
from lra.attention.shared.decay import decayed
from lra.attention.shared.gated_norm import GatedNorm
from lra.attention.shared.rotation import rotate
from lra.core.errors import LRAError

INFO = Info("gated recurrence", "Sun et al. 2023, arXiv:2307.08621", "O(N)", causal=True)
FIRST = 5  # head i, from 0, keeps 1 - 2^-(FIRST + i) of a state from token to token (equation 8)
BASE = 10_000.0  # of the rotation
EPS = 1e-6  # of the norm, as in microsoft/torchscale's retnet.py


class Attention(MultiHead):
    """sum over s of M_ts (q_t . k_s) v_s, normed by head, times silu(x W_g) (section 2.2)

    q and k are rotated by their positions, M is the decay between t and s, and queries and keys are
    linear: there is no softmax. `decay` chooses M:
      fixed: gamma^|t - s|, gamma by head as in RetNet (equation 8).
      learned: the same, each gamma the sigmoid of a parameter (LION-D), which starts at RetNet's.
      gated: the product of lambda_j, ..., lambda_(t-1) for a token j before t, and of lambda_(t+1),
        ..., lambda_j for j after t, lambda = sigmoid(x W + b) of each token and head (LION-S, the
        masks of LIONS-EPFL/LION, img_classification/lion/models_lion.py). b starts at RetNet's.
        lambda is 1 at masked tokens.
    Without `causal`, M has both sides, as in LION; causal, M is 0 for s > t.

    LION divides by the sum of the weights: the norm does it here. Its feature map is not taken.
    Different from the paper's models: W_v and W_g are `expand` = 1 times as wide as W_q, where
    RetNet's are 2 times and its MLP is narrower. In float32 under autocast, but for the
    projections. `dropout` does nothing.
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
        decay: Literal["fixed", "learned", "gated"] = "fixed",
        expand: int = 1,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        width = qkv_dim or dim
        if width // heads % 2:
            raise LRAError(
                f"heads: retention rotates pairs of features, {width} in {heads} heads are "
                f"{width // heads} each, an odd number"
            )
        self.causal, self.scale = causal, (width // heads) ** -0.5
        self.value, self.gate = (nn.Linear(dim, expand * width, bias=False) for _ in range(2))
        self.out = nn.Linear(expand * width, dim, bias=False)
        for projection in (self.value, self.gate, self.out):
            nn.init.xavier_uniform_(projection.weight)
        lost = 2.0 ** -(FIRST + torch.arange(heads, dtype=torch.float64))
        if decay == "fixed":
            self.decay_logit = None
            self.register_buffer("log_decay", torch.log1p(-lost), persistent=False)
        else:
            self.decay_logit = nn.Parameter(((1 - lost) / lost).log().float())
        self.decay_gate = nn.Linear(dim, heads, bias=False) if decay == "gated" else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = (
            exact(self.split_heads(projection(x)))
            for projection in (self.query, self.key, self.centred_values)
        )  # (B, H, N, K), the last (B, H, N, P)
        gate = exact(self.gate(x))
        forward, backward = self.log_decays(x, mask)
        with torch.autocast(x.device.type, enabled=False):
            turns = rotations(x.shape[1], q.shape[-1], x.device)
            q, k = rotate(q, turns), rotate(k, turns * self.scale)
            if mask is not None:
                k = k * mask[:, None, :, None]
            # contiguous here, so that no second one is kept beside it
            q, k, v = (t.contiguous() for t in (q, k, v))
            out = decayed(q, k, v, forward, None if self.causal else backward)
            out = rearrange(out, "b h n p -> b n h p")
            out = GatedNorm.apply(out, gate.view_as(out), EPS, False)
        return self.out(out.flatten(2))

    def centred_values(self, x: Tensor) -> Tensor:
        """v (B, N, H P), the mean over each head's features taken off: in the weights, at once

        The sums over tokens have mean 0, too, so the RMS norm is the paper's layer norm.
        """

        def centred(weights: Tensor) -> Tensor:
            by_head = weights.unflatten(0, (self.heads, -1))
            return (by_head - by_head.mean(1, keepdim=True)).flatten(0, 1)

        bias = None if self.value.bias is None else centred(self.value.bias)
        return linear(x, centred(self.value.weight), bias)

    def log_decays(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """From the token before to each one, and from each one to it: (B, H, N) or (1, H, 1)"""
        if self.decay_gate is not None:
            logits = exact(self.decay_gate(x)).mT + self.decay_logit[:, None]
            own = logsigmoid(logits)  # (B, H, N)
            if mask is not None:
                own = own * mask[:, None]
            return pad(own[:, :, :-1], (1, 0)), own
        logs = self.log_decay if self.decay_logit is None else logsigmoid(self.decay_logit)
        logs = logs[None, :, None].to(exact_dtype(x))
        return logs, logs


def rotations(n: int, size: int, device: torch.device, first: int = 0) -> Tensor:
    """e^(i t r), complex (N, K / 2), of N positions t from `first` on and rates r: powers of
    1 / BASE from exponent 0 to 1, as in microsoft/torchscale's retnet.py, of which the paper gives
    none.

    In float64: at position 16,384 float32 errs by 0.001.
    """
    exponents = torch.linspace(0, 1, size // 2, dtype=torch.float64, device=device)
    position = torch.arange(first, first + n, dtype=torch.float64, device=device)
    angles = position[:, None] * BASE**-exponents
    return torch.complex(angles.cos(), angles.sin())
