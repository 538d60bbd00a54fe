"""Compressive Transformer, by definition."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import conv1d, linear, scaled_dot_product_attention

from lra.attention.compressive import Attention
from naive.segments import per_pair


def attention(module: Attention, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same and the auxiliary loss (0 where there is none), as algorithms 1 and 2 go."""
    mask = x.new_ones(x.shape[:2], dtype=torch.bool) if mask is None else mask
    rows = zip(x, mask, strict=True)
    outs, errors = zip(*(_row(module, *row) for row in rows), strict=True)
    errors = [error for row in errors for error in row]  # (S, H D) each
    return torch.stack(outs), torch.cat(errors).square().mean() if errors else x.new_zeros(())


def _row(module: Attention, x: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
    outs, errors, compressed = [], [], []
    memory, remembered = x[:0], mask[:0]
    for h, real in zip(x.split(module.segment), mask.split(module.segment), strict=True):
        older = compressed[-module.compressed_segments :]
        keys = torch.cat([*(slots.detach() for slots, _ in older), memory, h])
        allowed = torch.cat([*(exist for _, exist in older), remembered, real]).expand(len(h), -1)
        if module.causal:
            allowed = allowed.tril(diagonal=len(keys) - len(h))
        allowed = allowed | ~allowed.any(dim=1, keepdim=True)
        q, k, v = module.query(h), module.key(keys), module.value(keys)
        outs.append(module.out(per_pair(module.relative, q, k, v, allowed)))
        if len(memory):
            slots, exist = _compress(module, memory, remembered)
            if exist.any() and real.any():
                difference = _content_attention(module, h, memory, remembered)
                difference = difference - _content_attention(module, h, slots, exist)
                errors.append(difference[real])
            compressed.append((slots, exist))
        memory, remembered = h.detach(), real
    return torch.cat(outs), errors


def _compress(module: Attention, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (S, dim) -> slots (S / rate, dim), which are real"""
    exist = torch.stack([group.any() for group in real.split(module.rate)])
    if module.compression == "conv":
        kernel = rearrange(module.convolution.weight, "o (r i) -> o i r", r=module.rate)
        masked = (x * real[:, None]).T
        return conv1d(masked, kernel, stride=module.rate).T, exist
    groups = zip(x.split(module.rate), real.split(module.rate), strict=True)
    kept = [tokens[keep] if keep.any() else tokens[:1] * 0 for tokens, keep in groups]
    if module.compression == "max":
        return torch.stack([tokens.amax(dim=0) for tokens in kept]), exist
    return torch.stack([tokens.mean(dim=0) for tokens in kept]), exist


def _content_attention(module: Attention, h: Tensor, memory: Tensor, real: Tensor) -> Tensor:
    """attn(h, m) of algorithm 2, its weights and h fixed: (S, H D)"""
    projections = zip(
        (module.query, module.key, module.value), (h.detach(), memory, memory), strict=True
    )
    q, k, v = (
        rearrange(
            linear(t, p.weight.detach(), None if p.bias is None else p.bias.detach()),
            "n (h d) -> h n d",
            h=module.heads,
        )
        for p, t in projections
    )
    out = scaled_dot_product_attention(q, k, v, real[None, None])
    return rearrange(out, "h n d -> n (h d)")
