"""Nystromformer (Xiong et al. 2021, arXiv:2102.03902, equations 11 to 15 and algorithm 1).

Not one of the arena's official models. The defaults are the paper's: 64 landmarks, "often
sufficient", and 6 iterations. The authors' own runs of the arena (mlpen/Nystromformer) set conv to
35. Their code scales the first guess of all matrices of a batch by the largest norm among them, so
examples depend on each other. Here each matrix has its own norm, as in equation 11.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lra.attention import Info
from lra.attention.base import MultiHead, allowed_keys, exact_dtype
from lra.attention.shared.by_head import heads, put, values
from lra.core.errors import LRAError

INFO = Info("low rank", "Xiong et al. 2021, arXiv:2102.03902", "O(N landmarks)", causal=False)
BLOCK = 32  # tokens of one matrix product of the convolution, at least
N_ANEW, D_N_ANEW = 3, 6  # iterations until n, or its derivative, is computed anew: errors grow


class Attention(MultiHead):
    """softmax(q k'^T) softmax(q' k'^T)^+ softmax(q' k^T) v, all scaled by 1 / sqrt(D)

    landmarks: rows of q' and k', which are the means of q and k over that many segments of the real
    tokens. The segments' sizes differ by at most one token. With fewer real tokens than landmarks,
    each token is a segment.
    iterations: of the approximate pseudo-inverse (equation 11).
    conv: width in tokens (odd) of the depthwise convolution of v that is added (section 3.3).
    The N x N weights are never computed; `dropout` acts on the two softmaxes that have N tokens.
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
        landmarks: int = 64,
        iterations: int = 6,
        conv: int | None = None,
    ) -> None:
        super().__init__(dim, heads, qkv_dim, dropout)
        self.landmarks, self.iterations = landmarks, iterations
        if conv is not None and conv % 2 == 0:
            raise LRAError(f"options.conv: {conv} is even; a token has no middle among {conv}")
        self.conv = None
        if conv is not None:
            self.conv = nn.Parameter(torch.empty(heads, conv))
            nn.init.uniform_(self.conv, -(conv**-0.5), conv**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)  # (B, N, H D)
        short_q, short_k, used = segment_means(q, k, mask, min(self.landmarks, x.shape[1]))
        convolved = None
        if self.conv is not None:  # first: its gradients come when attention's tensors are gone
            real_v = v if mask is None else v * mask[:, :, None]
            convolved = convolve(real_v, self.conv, 1 if self.by_head(x) else self.heads)
        q, k, v, short_q, short_k = map(self.split_heads, (q, k, v, short_q, short_k))
        real, landmarks = allowed_keys(mask), allowed_keys(used)
        pooled = scaled_dot_product_attention(short_q, k, v, real, self.drop)  # (B, H, M, D)
        with torch.autocast(x.device.type, enabled=False):  # the iteration fails in bfloat16
            exact = torch.promote_types(v.dtype, torch.float32)
            among = weights(short_q.to(exact), short_k.to(exact), used)
            pooled = pseudo_inverse(among, self.iterations) @ pooled.to(exact)
        pooled = pooled.to(v.dtype)
        out = scaled_dot_product_attention(q, short_k, pooled, landmarks, self.drop)
        out = rearrange(out, "b h n d -> b n (h d)")
        return self.out(out if convolved is None else out + convolved)


def segment_means(
    q: Tensor, k: Tensor, mask: Tensor | None, count: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Means (B, M, H D) of q and k (B, N, H D) over M = `count` segments, and which are used (B, M)

    The used segments are the first min(M, number of real tokens); None: all of M <= N.
    """
    n = q.shape[1]
    if mask is None and n % count == 0:
        return *(t.unflatten(1, (count, -1)).mean(2) for t in (q, k)), None
    numbers = torch.arange(count, device=q.device)[:, None]
    if mask is None:
        segment = torch.arange(0, n * count, count, device=q.device)[None] // n
    else:
        real = mask.sum(1, keepdim=True)  # (B, 1)
        segment = (mask.cumsum(1) - 1) * real.clamp(max=count) // real.clamp(min=1)
        segment = segment.masked_fill(~mask, -1)
    members = (segment[:, None] == numbers).to(exact_dtype(q))  # (B or 1, M, N)
    sizes = members.sum(2, keepdim=True)
    shares = (members / sizes.clamp(min=1)).to(q.dtype)
    return shares @ q, shares @ k, None if mask is None else sizes[:, :, 0] > 0


def weights(q: Tensor, k: Tensor, used: Tensor | None) -> Tensor:
    """Softmax attention among landmarks q, k (B, H, M, D); used (B, M), None: all.

    Unused landmarks form an identity block: it is its own pseudo-inverse and does not change that
    of the others.
    """
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if used is None:
        return scores.softmax(-1)
    scores = scores.masked_fill(~allowed_keys(used), -torch.inf)
    identity = torch.eye(q.shape[2], dtype=q.dtype, device=q.device)
    return torch.where(used[:, None, :, None], scores.softmax(-1), identity)


def pseudo_inverse(a: Tensor, iterations: int) -> Tensor:
    """Of each matrix of a (..., M, M), whose rows are weights that sum to one, by equation 11."""
    shape, a = a.shape, a.reshape(-1, *a.shape[-2:])
    norm = a.sum(-2).max(-1).values  # of columns; the largest row sum is one
    return Iterated.apply(a, norm, iterations).view(shape)


def hands_on(i: int, iterations: int, anew: int) -> bool:
    """Whether the next iteration takes n from i: there is one, and it does not begin anew."""
    return i + 1 < iterations and (i + 1) % anew > 0


class Iterated(torch.autograd.Function):
    """Equation 11 from the guess z = a^T / norm: apply(a (b, M, M), norm (b,), iterations).

    With n = a z, which is symmetric, an iteration makes z (13 - n (15 - n (7 - n))) / 4 of z, and
    the same of n. The result is an odd polynomial of a's singular values. The adjoint of such a
    function is its derivative along the transposed gradient, transposed, so the backward pass
    iterates the derivatives of z and n.

    All in few kernels: z stands above n, (b, 2 M, M), and what is added to a product is added by
    its own kernel.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, norm: Tensor, iterations: int) -> Tensor:
        m, saved = a.shape[-1], []
        z = a.mT / norm[:, None, None]
        for i in range(iterations):
            if i % N_ANEW == 0:
                both = torch.cat([z, a @ z], 1)
            n = both[:, m:]
            inner = torch.baddbmm(n, n, n, beta=7 / 4, alpha=-1 / 4)
            outer = torch.baddbmm(n, n, inner, beta=15 / 4, alpha=-1)
            saved += [both, inner, outer]
            if not hands_on(i, iterations, N_ANEW):
                both = z
            both = torch.baddbmm(both, both, outer, beta=13 / 4, alpha=-1)
            z = both[:, :m]
        ctx.save_for_backward(a, norm, z, *saved)
        return z

    @staticmethod
    def backward(ctx: Any, to_z: Tensor) -> tuple[Tensor, Tensor, None]:
        a, norm, z, *saved = ctx.saved_tensors
        m = a.shape[-1]
        guess = saved[0][:, :m] if saved else z
        d_z = d_guess = to_z / norm[:, None, None]
        iterations = len(saved) // 3
        for i in range(iterations):
            both, inner, outer = saved[3 * i : 3 * i + 3]
            if i % D_N_ANEW == 0:
                d_n = torch.baddbmm(to_z.mT @ both[:, :m], a, d_z)
                d_both = torch.cat([d_z, d_n], 1)
            n, d_n = both[:, m:], d_both[:, m:]
            d_inner = torch.baddbmm(d_n, d_n, n, beta=7 / 4, alpha=-1 / 4)
            d_inner.baddbmm_(n, d_n, alpha=-1 / 4)
            d_outer = torch.baddbmm(d_n, d_n, inner, beta=15 / 4, alpha=-1)
            d_outer.baddbmm_(n, d_inner, alpha=-1)
            if not hands_on(i, iterations, D_N_ANEW):
                both, d_both = both[:, :m], d_z
            d_both = torch.baddbmm(d_both, d_both, outer, beta=13 / 4, alpha=-1)
            d_both.baddbmm_(both, d_outer, alpha=-1)
            d_z = d_both[:, :m]
        # t a and t^2 norm give z / t: the derivative by t, at t = 1, has norm's gradient in it
        guess, z, to_guess, to_result = (t.flatten(1)[:, None] for t in (guess, z, d_z, d_guess))
        to_norm = torch.baddbmm(guess @ to_guess.mT, z, to_result.mT, beta=-1 / 2, alpha=-1 / 2)
        return d_z.mT, to_norm.flatten(), None


def convolve(v: Tensor, kernel: Tensor, at_once: int) -> Tensor:
    """v (B, N, H D) convolved along N by each head's kernel (H, W), W odd, zeros beyond the ends.

    at_once: heads, see by_head. Computed as a product with a band matrix for every block: torch
    2.13's conv2d has kernel gradients that are wrong by 1 % on CPU in float32 for N = 4096
    (oneDNN), and is slower.
    """
    width = kernel.shape[1]
    size = max(BLOCK, width // 2)
    tokens, seen = (torch.arange(count, device=v.device) for count in (size, size + width - 1))
    offsets = seen - tokens[:, None]
    inside = (offsets >= 0) & (offsets < width)
    band = kernel[:, offsets.clamp(0, width - 1)] * inside  # (H, S, S + W - 1)
    return Band.apply(v, band.to(v.dtype), at_once)


class Band(torch.autograd.Function):
    """v convolved along N by the kernels in a band matrix of each head

    apply(v (B, N, H D), band (H, S, S + W - 1), at_once) -> (B, N, H D)
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, band: Tensor, at_once: int) -> Tensor:
        ctx.save_for_backward(v, band)
        ctx.at_once = at_once
        return banded(windows(v, band), band, at_once, v.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        v, band = ctx.saved_tensors
        size, seen = band.shape[1:]
        reach = (seen - size) // 2
        around, grads = windows(v, band), windows(grad, band)
        own, to_band = grads[:, reach : reach + size], torch.empty_like(band)
        for h in heads(len(band), ctx.at_once):
            products = torch.bmm(values(own, h), values(around, h).mT)  # (h M, S, S + W - 1)
            to_band[h] = products.unflatten(0, (-1, len(own))).sum(1)
        # the gradients are convolved by the kernels read backwards
        return banded(grads, band.flip(1, 2), ctx.at_once, grad.shape), to_band, None


def banded(around: Tensor, band: Tensor, at_once: int, shape: torch.Size) -> Tensor:
    """Every block's band (H, S, S + W - 1) times what it sees (M, S + W - 1, H, D), in the shape
    (B, N, H D)."""
    out = around.new_empty(len(around), band.shape[1], *around.shape[2:])  # (M, S, H, D)
    for h in heads(len(band), at_once):
        repeated = band[h, None].expand(-1, len(around), -1, -1).flatten(0, 1)
        put(out, h, torch.bmm(repeated, values(around, h)))
    return out.view(shape[0], -1, shape[2])[:, : shape[1]]


def windows(t: Tensor, band: Tensor) -> Tensor:
    """The tokens of t (B, N, H D) that each block of a band (H, S, S + W - 1) sees, as views
    (M, S + W - 1, H, D), M = B G

    Between two examples, and at both ends, there are zeros.
    """
    (batch, n, width), (many, size, seen) = t.shape, band.shape
    groups = -(-(n + seen - size) // size)
    first, end = (seen - size) // 2, batch * groups * size
    rows = t.new_empty(end + seen - size, width)
    examples = rows[:end].view(batch, -1, width)
    examples[:, first : first + n] = t
    for beyond in (examples[:, :first], examples[:, first + n :], rows[end:]):
        beyond.zero_()
    shape = batch * groups, seen, many, width // many
    return rows.as_strided(shape, (size * width, width, width // many, 1))
