"""Performer (Choromanski et al. 2020, arXiv:2009.14794): FAVOR+, sections 2.2 to 2.4.

google-research/long-range-arena runs `relu-unprojected` in five of its six tasks and `softmax` with
2 features, redrawn at every call, in ListOps. It ignores padding, adds 1e-6 to softmax features and
seeds a draw by the sum of the batch's queries. Here padding is masked, nothing is added, and draws
depend on no data. Features are no parameters, so the count is the same.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from lra.attention import Info
from lra.attention.base import MultiHead, exact
from lra.attention.shared.causal_sums import causal_sums
from lra.core.errors import LRAError

INFO = Info("kernel", "Choromanski et al. 2020, arXiv:2009.14794", "O(N features)", causal=True)
RELU_EPS = 1e-3  # of the official code, added to relu's features
MAX_LAYERS = 1000  # that draw from seeds of their own
TINY = 1e-30  # sums of similarities below this come from no real token


class Attention(MultiHead):
    """phi(q) (phi(k)^T v) / (phi(q) sum(phi(k))), phi of random projections w of x / D^(1/4)

    features: their number; the error of the estimated kernel is about features^(-1/2). None:
    D log D (theorem 4: as many are enough, whatever N is), but at least 2 D, for one feature alone
    would cancel q; and up to the next multiple of 8.
    kernel: `softmax` has positive features exp(w x - |x|^2 / 2), whose mean products are exp(q k)
    (lemma 1); `relu` has relu(w x) + 0.001 (section 2.2, equation 5). `relu-unprojected` has the D
    features relu(x) + 0.001 of q and k themselves, without w and without D^(1/4).
    orthogonal: w in orthogonal blocks of D (section 2.4), else independent.
    redraw: w is drawn anew after so many forwards in training; None keeps the first. The generator
    is torch's default. w and the count of forwards are saved with the weights. `call`: before every
    forward, in evaluation, too. There the seeds are the layer and the number of calls since eval(),
    so an evaluation repeats, but results depend on the order of batches.
    `dropout` does nothing, as in the official code, for there are no attention weights to drop.
    In float32 under autocast, too, but for the projections: features are exponentials.
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
        features: int | None = None,
        kernel: Literal["softmax", "relu", "relu-unprojected"] = "softmax",
        orthogonal: bool = True,
        redraw: int | Literal["call"] | None = None,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.kernel = causal, kernel
        self.orthogonal, self.redraw = orthogonal, redraw
        self.layer, self.layers, self.evaluated = 0, 1, 0
        size = self.query.out_features // heads
        if kernel == "relu-unprojected":
            for option, given in (("features", features), ("redraw", redraw)):
                if given is not None:
                    raise LRAError(f"options.{option}: kernel '{kernel}' projects nothing")
            self.register_buffer("projection", None)
            return
        features = features or default_features(size)
        self.register_buffer("projection", draw(features, size, orthogonal))  # (M, D)
        self.register_buffer("forwards", torch.zeros((), dtype=torch.long))

    def tie(self, first: Attention) -> None:
        """Draw others than the earlier layers in evaluation."""
        self.layer = first.layers
        first.layers += 1

    def train(self, mode: bool = True) -> Attention:
        self.evaluated = 0
        return super().train(mode)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        projection = self.current_projection()
        at_once = 1 if self.by_head(x) else self.heads  # features are the largest tensors
        parts = zip(*(exact(t).split(at_once, dim=1) for t in self.project(x)), strict=True)
        with torch.autocast(x.device.type, enabled=False):
            out = torch.cat([self.attend(*part, projection, mask) for part in parts], dim=1)
        return self.merge(out)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, projection: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """q, k, v (B, H, N, D) of some heads -> (B, H, N, D)"""
        if self.kernel == "softmax":
            q, k = softmax_features(q, k, projection, mask)
        elif projection is None:
            q, k = (t.relu() + RELU_EPS for t in (q, k))
        else:
            q, k = (relu_features(t, projection) for t in (q, k))
        # a column of ones in v gives the sum over k
        v = pad(v, (0, 1), value=1.0)  # (B, H, N, D + 1)
        if mask is not None:
            v = v * mask[:, None, :, None]
        sums = causal_sums(q, k, v) if self.causal else q @ (k.mT @ v)
        total = sums[..., -1:]
        return sums[..., :-1] / total.masked_fill(total < TINY, 1)

    def current_projection(self) -> Tensor | None:
        if not self.training and self.redraw == "call":
            self.evaluated += 1
            seed = self.evaluated * MAX_LAYERS + self.layer  # of 32 bits, more are ignored
            generator = torch.Generator("cpu").manual_seed(seed)
            shape = self.projection.shape
            return draw(*shape, self.orthogonal, "cpu", generator).to(self.projection)
        if self.redraw is None or not self.training:
            return self.projection
        # drawn every time: Python must not branch on the counter, or graphs could not be compiled
        self.forwards.add_(1)
        candidate = draw(*self.projection.shape, self.orthogonal, self.projection.device)
        due = self.forwards % (1 if self.redraw == "call" else self.redraw) == 0
        projection = torch.where(due, candidate.to(self.projection.dtype), self.projection)
        self.projection.copy_(projection)
        return projection  # the next forward may change the buffer before this one's backward


def default_features(size: int) -> int:
    """Of heads of this size: a multiple of 8, as products of other sizes take as long or longer."""
    return 8 * math.ceil(max(size * math.log(size), 2 * size) / 8)


def draw(
    count: int,
    size: int,
    orthogonal: bool,
    device: torch.device | str | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """`count` projections of `size`, each standard normal; (count, size) float32"""
    how = {"device": device, "generator": generator, "dtype": torch.float32}
    rows = torch.randn(count, size, **how)
    if not orthogonal:
        return rows
    blocks = torch.randn(-(-count // size), size, size, **how)
    q, r = torch.linalg.qr(blocks)
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]  # makes the directions uniform
    return q.flatten(0, 1)[:count] * rows.norm(dim=1, keepdim=True)


def softmax_features(
    q: Tensor, k: Tensor, projection: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Features (B, H, N, M) of q and k (B, H, N, D), up to factors that cancel in attention.

    Each query's factor removes its |q|^2 and its largest exponent. One factor for all keys of a
    head removes the largest exponent of its real tokens.
    """
    projection = projection * q.shape[-1] ** -0.25
    half_norms = k.square().sum(-1, keepdim=True) * (q.shape[-1] ** -0.5 / 2)  # (B, H, N, 1)
    q, k = q @ projection.T, k @ projection.T
    largest = k.detach().amax(-1, keepdim=True) - half_norms.detach()
    if mask is not None:
        masked = ~mask[:, None, :, None]
        largest = largest.masked_fill(masked, -torch.inf)
    below = half_norms + largest.amax(2, keepdim=True)
    if mask is not None:
        below = below.masked_fill(masked, torch.inf)
    # in place, as these are the largest tensors
    return q.sub_(q.detach().amax(-1, keepdim=True)).exp_(), k.sub_(below).exp_()


def relu_features(t: Tensor, projection: Tensor) -> Tensor:
    """(B, H, N, D) -> (B, H, N, M)"""
    return (t @ (projection * t.shape[-1] ** -0.25).T).relu_() + RELU_EPS
