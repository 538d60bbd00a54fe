"""Compressive Transformer (Rae et al. 2020, arXiv:1911.05507, section 3)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from lra.attention import Info
from lra.attention.base import MultiHead, attendable
from lra.attention.shared.hidden import minus_infinity
from lra.attention.shared.relative import Part, RelativeAttention
from lra.attention.shared.segments import Shared, earlier, in_segments, projected, visible
from lra.attention.shared.tiles import folded, unfolded
from lra.core.errors import LRAError

INFO = Info("recurrence", "Rae et al. 2020, arXiv:1911.05507", "O(N segment)", causal=True)


class Attention(MultiHead):
    """Transformer-XL with a compressed memory of the segments that left its memory.

    A segment attends to the compressed slots of `compressed_segments` older segments, `segment` /
    `rate` slots each, to its memory (the segment before) and to itself. `compression` makes one
    slot of `rate` tokens: their mean or maximum, or a convolution of kernel and stride `rate`.
    Masked tokens do not count in mean and maximum and are zeros to the convolution. A slot without
    real tokens is masked. Relative positions (relative.RelativeAttention) count along compressed
    memory, memory and segment in a row, so a slot is one step.

    Memories are this layer's inputs at earlier segments, with the gradient stopped. The task's
    gradient trains W_k and W_v with them, never the compression. That learns from `auxiliary` only
    (section 3.2 and algorithm 2, attention reconstruction): the mean squared difference of each
    segment's content-based attention to its memory and to the memory's slots, over real queries
    whose memory has real tokens, with all but the convolution fixed. `auxiliary` is None out of
    training and where nothing is compressed or learned.

    Different from the paper: see xl.py for `causal` and the weights of memories; the loss is a mean
    where algorithm 2 sums norms; the convolution has no bias.
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
        segment: int = 128,
        rate: int = 4,
        compression: Literal["mean", "max", "conv"] = "conv",
        compressed_segments: int = 2,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        if segment % rate:
            raise LRAError(f"options.rate: {rate} does not divide segment ({segment})")
        self.causal, self.segment, self.rate = causal, segment, rate
        self.compression, self.compressed_segments = compression, compressed_segments
        self.relative = RelativeAttention(dim, heads, qkv_dim or dim)
        self.convolution = None
        if compression == "conv":
            self.convolution = nn.Linear(rate * dim, dim, bias=False)  # of `rate` tokens in a row
            nn.init.xavier_uniform_(self.convolution.weight)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n, whole = x.shape[1], mask is None
        x, mask = in_segments(x, mask, self.segment, self.causal)
        groups = x.shape[1]
        count = min(self.compressed_segments, max(groups - 2, 0))
        learning = self.training and self.convolution is not None and groups > 1
        q = self.query(x)
        (k, old_k), (v, old_v) = (
            projected(x, p, self.stops_gradients) for p in (self.key, self.value)
        )
        parts, seen = [], []
        self.auxiliary = None
        if count or learning:
            tokens = x.detach() if self.stops_gradients else x
            if not whole:
                tokens = tokens.masked_fill(~mask[..., None], 0)
            slots = self.compress(tokens, mask)
            kept = slots.detach() if self.stops_gradients else slots
            real = mask.unflatten(2, (-1, self.rate)).any(dim=3)  # (B, G, S / rate)
            # the first of each pair is for the auxiliary loss, the second for the task
            (k_aux, k_slots), (v_aux, v_slots) = (
                Shared.apply(slots, p.weight, p.bias, False) if learning else (None, p(kept))
                for p in (self.key, self.value)
            )
            parts = [Part(k_slots, v_slots, tuple(range(count + 1, 1, -1)))]
            seen = [earlier(real, groups, count, skip=1)] if count else []
            if learning:
                at_once = 1 if self.by_head(x) else self.heads
                self.auxiliary = Reconstruction.apply(
                    self.heads,
                    at_once,
                    q.detach(),
                    k.detach(),
                    v.detach(),
                    mask,
                    k_aux,
                    v_aux,
                    real,
                )
        if groups > 1:
            parts.append(Part(old_k, old_v, (1,)))
            seen.append(earlier(mask, groups, 1))
        parts.append(Part(k, v, (0,)))
        allowed = None if mask is None else visible(seen, mask, self.causal)
        out = self.relative(q, parts, allowed, self.drop, self.by_head(x))
        return self.out(out[:, :n])

    def compress(self, x: Tensor, mask: Tensor) -> Tensor:
        """Slots (B, G, S / rate, dim) of tokens (B, G, S, dim), which are zeros where masked"""
        x, mask = x.unflatten(2, (-1, self.rate)), mask.unflatten(2, (-1, self.rate))
        if self.convolution is not None:
            return self.convolution(x.flatten(3))
        if self.compression == "mean":
            return x.sum(dim=3) / mask.sum(dim=3).clamp(min=1)[..., None]
        most = x.masked_fill(~mask[..., None], -torch.inf).amax(dim=3)
        return most.masked_fill(~mask.any(dim=3)[..., None], 0)


class Reconstruction(torch.autograd.Function):
    """The auxiliary loss, `at_once` heads after `at_once` heads.

    Only the slots have gradients. They are computed with the loss and saved for backward.

    apply(heads, at_once, q, k, v (B, G, S, H D), mask (B, G, S), k_slots and v_slots
    (B, G, S / rate, H D), real (B, G, S / rate)) -> ()
    """

    @staticmethod
    def forward(
        ctx: Any,
        heads: int,
        at_once: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor,
        k_slots: Tensor,
        v_slots: Tensor,
        real: Tensor,
    ) -> Tensor:
        counts = mask.clone()
        counts[:, 0] = False  # an example's first segment has no memory
        counts[:, 1:] &= real[:, :-1].any(dim=-1, keepdim=True)
        # all examples' segments in one row, each aligned with the one before it, as views
        q, counts = (t.flatten(0, 1)[1:] for t in (q, counts[..., None]))
        old = [t.flatten(0, 1)[:-1] for t in (k, v, ~attendable(mask)[:, :, None])]
        new = [t.flatten(0, 1)[:-1] for t in (k_slots, v_slots, ~attendable(real)[:, :, None])]
        number = (counts.sum() * q.shape[-1]).clamp(min=1)
        to_k, to_v = torch.zeros_like(k_slots), torch.zeros_like(v_slots)
        loss = q.new_zeros((), dtype=torch.promote_types(q.dtype, torch.float32))
        size = q.shape[-1] // heads
        for start in range(0, heads, at_once):
            cut = slice(start * size, (start + at_once) * size)
            q_h, k_old, v_old, k_new, v_new = (
                folded(t[..., cut], at_once) for t in (q, *old[:2], *new[:2])
            )  # (h (B G - 1), ...)
            q_h = q_h * size**-0.5
            target = _weights(q_h, k_old, old[2]) @ v_old
            weights = _weights(q_h, k_new, new[2])  # (h (B G - 1), S, S / rate)
            error = (weights @ v_new).sub_(target)
            error.unflatten(0, (at_once, -1)).mul_(counts)
            loss += error.flatten().to(loss.dtype).square().sum() / number
            error *= 2 / number
            to_v.flatten(0, 1)[:-1, :, cut] = unfolded(weights.mT @ error, at_once)
            to_weights = error @ v_new.mT
            total = (to_weights * weights).sum(-1, keepdim=True)
            to_scores = to_weights.sub_(total).mul_(weights)
            to_k.flatten(0, 1)[:-1, :, cut] = unfolded(to_scores.mT @ q_h, at_once)
        ctx.save_for_backward(to_k, to_v)
        return loss

    @staticmethod
    def backward(ctx: Any, to_loss: Tensor) -> tuple[Tensor | None, ...]:
        to_k, to_v = (t * to_loss.to(t.dtype) for t in ctx.saved_tensors)
        return None, None, None, None, None, None, to_k, to_v, None


def _weights(q: Tensor, k: Tensor, hidden: Tensor) -> Tensor:
    """q (h M, S, D), k (h M, K, D), hidden (M, 1, K) -> (h M, S, K)"""
    scores = q @ k.mT
    scores.unflatten(0, (-1, len(hidden))).add_(minus_infinity(hidden, scores.dtype))
    return scores.softmax(-1)
