"""Transformer-XL (Dai et al. 2019, arXiv:1901.02860, sections 3.2 and 3.3)."""

from __future__ import annotations

from torch import Tensor

from lra.attention import Info
from lra.attention.base import MultiHead
from lra.attention.shared.relative import Part, RelativeAttention
from lra.attention.shared.segments import earlier, in_segments, projected, visible

INFO = Info("recurrence", "Dai et al. 2019, arXiv:1901.02860", "O(N segment)", causal=True)


class Attention(MultiHead):
    """Segments of `segment` tokens that attend to themselves and to the `memory_segments` before.

    The memory is this layer's input at those segments, with the gradient stopped: its keys and
    values train W_k and W_v, not the layers below. Scores have relative positions
    (relative.RelativeAttention).

    Different from the paper: without `causal` a query sees its whole segment, at negative distances
    what comes later. And all segments are of one document and one training step, computed at once,
    so the memory is computed with the current weights, not with those of the step before.
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
        memory_segments: int = 1,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.causal, self.segment, self.memory_segments = causal, segment, memory_segments
        self.relative = RelativeAttention(dim, heads, qkv_dim or dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        n = x.shape[1]
        x, mask = in_segments(x, mask, self.segment, self.causal)
        groups = x.shape[1]
        count = min(self.memory_segments, groups - 1)
        (k, old_k), (v, old_v) = (
            projected(x, p, self.stops_gradients) for p in (self.key, self.value)
        )
        parts = [Part(old_k, old_v, tuple(range(count, 0, -1))), Part(k, v, (0,))]
        allowed = None
        if mask is not None:
            memories = [earlier(mask, groups, count)] if count else []
            allowed = visible(memories, mask, self.causal)
        out = self.relative(self.query(x), parts, allowed, self.drop, self.by_head(x))
        return self.out(out[:, :n])
