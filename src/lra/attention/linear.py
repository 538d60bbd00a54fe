"""Linear Transformer (Katharopoulos et al. 2020, arXiv:2006.16236, equations 5, 7 and 9)."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import elu, pad

from lra.attention import Info
from lra.attention.base import MultiHead, exact
from lra.attention.shared.causal_sums import causal_sums

INFO = Info("kernel", "Katharopoulos et al. 2020, arXiv:2006.16236", "O(N)", causal=True)
EPS = 1e-6  # of the official code, against division by zero where no token is real


class Attention(MultiHead):
    """phi(q) (phi(k)^T v) / (phi(q) sum(phi(k))), phi = elu + 1

    In float32 under autocast, too, but for the projections: a sum is over all tokens.
    `dropout` does nothing, as in the official code, for there are no attention weights to drop.
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
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal = causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        by_head = not self.causal and self.by_head(x)
        order = "b n (h d) -> b n h d" if by_head else "b n (h d) -> b h n d"
        projections = (self.query, self.key, self.value)
        q, k, v = (rearrange(exact(p(x)), order, h=self.heads) for p in projections)
        with torch.autocast(x.device.type, enabled=False):
            if by_head:
                out = ByHead.apply(q, k, v, mask)
            else:
                q, k = elu(q) + 1, elu(k) + 1
                if mask is not None:
                    k = k * mask[:, None, :, None]
                out = (causal_linear if self.causal else linear)(q, k, v).transpose(1, 2)
        return self.out(out.flatten(2))


def linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q, k (B, H, N, D) of features, v (B, H, N, D)"""
    context = k.mT @ v  # (B, H, D, D)
    total = k.sum(dim=2, keepdim=True)  # (B, H, 1, D)
    return q @ context / ((q * total).sum(-1, keepdim=True) + EPS)


class ByHead(torch.autograd.Function):
    """`linear`, one head at a time: its features stay in a CPU's cache and are not saved.

    apply(q, k, v (B, N, H, D), mask (B, N) or None) -> (B, N, H, D), the projections' own layout.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        out = torch.empty_like(q)
        contexts, totals, norms = [], [], []
        for head in range(q.shape[2]):
            features = _features(k[:, :, head], mask)  # (B, N, D)
            contexts.append(features.mT @ v[:, :, head])  # (B, D, D)
            totals.append(features.sum(1, keepdim=True))  # (B, 1, D)
            features = _features(q[:, :, head])
            norms.append(features @ totals[-1].mT + EPS)  # (B, N, 1)
            out[:, :, head] = features @ contexts[-1] / norms[-1]
        stacked = (torch.stack(tensors) for tensors in (contexts, totals, norms))
        ctx.save_for_backward(q, k, v, mask, *stacked)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, mask, contexts, totals, norms = ctx.saved_tensors
        grad_q, grad_k, grad_v = (torch.empty_like(t) for t in (q, k, v))
        for head in range(q.shape[2]):
            # each holds something else before its own: one head's tensors count, too
            to_q, to_k, to_v = (t[:, :, head] for t in (grad_q, grad_k, grad_v))
            top = to_v.copy_(grad[:, :, head]).div_(norms[head])  # of q context, (B, N, D)
            features = _features(to_k.copy_(q[:, :, head]), inplace=True)
            to_q.copy_(top @ contexts[head].mT)
            bottom = -(features * to_q).sum(-1, keepdim=True) / norms[head]  # of q . total
            context, total = features.mT @ top, bottom.mT @ features
            # elu + 1 is its own slope below 0, and 1 above
            to_q.addcmul_(bottom, totals[head]).mul_(features.clamp_(max=1))
            features = _features(to_v.copy_(k[:, :, head]), mask, inplace=True)
            to_k.copy_(v[:, :, head] @ context.mT).add_(total).mul_(features.clamp(max=1))
            to_v.copy_(features @ context)
        return grad_q, grad_k, grad_v, None


def _features(t: Tensor, mask: Tensor | None = None, inplace: bool = False) -> Tensor:
    """elu + 1 of t (B, N, D), zero where masked"""
    features = elu(t, inplace=inplace).add_(1)
    return features if mask is None else features.mul_(mask[:, :, None])


def causal_linear(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`linear` over the keys up to each query."""
    sums = causal_sums(q, k, pad(v, (0, 1), value=1.0))  # a column of ones gives the sum over k
    return sums[..., :-1] / (sums[..., -1:] + EPS)
