"""Products with Toeplitz matrices by FFT, for state spaces (s4d) and moving averages (mega)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lra.attention.base import exact

CHANNELS = 32  # that a CPU transforms at once, so that their spectra stay in its caches


def convolve(
    u: Tensor, kernel: Tensor, back: Tensor | None = None, in_parts: bool = False
) -> Tensor:
    """y_t = sum over s <= t of kernel_{t-s} u_s, and with `back` + sum over s > t of back_{s-t} u_s

    u (B, C, N); kernel, back (C, K) or (B, C, K), of at most N lags, zero beyond -> (B, C, N).

    Lag 0 is kernel's alone: back_0 is not used. In float32, or float64 if u is, under autocast too.
    in_parts: CHANNELS after CHANNELS.
    """
    u, kernel = exact(u), exact(kernel)
    n, lags = u.shape[-1], kernel.shape[-1]
    size = fast_size(n + max(lags, 0 if back is None else back.shape[-1]) - 1)
    if back is not None:  # a negative lag is counted from the circle's end
        back = exact(back)[..., 1:].flip(-1)
        between = kernel.new_zeros(*kernel.shape[:-1], size - lags - back.shape[-1])
        kernel = torch.cat([kernel, between, back], dim=-1)
    return Circular.apply(u, kernel, size, CHANNELS if in_parts else u.shape[1])


class Circular(torch.autograd.Function):
    """The first N of a circular convolution of `size` >= N places, some channels after others.

    apply(u (B, C, N), kernel (C, K) or (B, C, K), size, at_once) -> (B, C, N). Spectra, twice as
    large as u, are not saved but computed again. The gradients are products of the same real
    spectra; torch's own for rfft take a complex transform of the whole circle.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor, size: int, at_once: int) -> Tensor:
        out = torch.empty_like(u)
        for channels in parts(u, at_once):
            spectrum, response = (torch.fft.rfft(t[channels], n=size) for t in (u, kernel))
            out[channels] = torch.fft.irfft(spectrum * response, n=size)[..., : u.shape[-1]]
        ctx.save_for_backward(u, kernel)
        ctx.size, ctx.at_once = size, at_once
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        u, kernel = ctx.saved_tensors
        size, n, lags = ctx.size, u.shape[-1], kernel.shape[-1]
        to_u, to_kernel = torch.empty_like(u), torch.empty_like(kernel)
        for channels in parts(u, ctx.at_once):
            spectrum, response, top = (
                torch.fft.rfft(t[channels], n=size) for t in (u, kernel, grad)
            )
            to_u[channels] = torch.fft.irfft(top * response.conj(), n=size)[..., :n]
            to_response = (top * spectrum.conj()).sum_to_size(response.shape)
            to_kernel[channels] = torch.fft.irfft(to_response, n=size)[..., :lags]
        return to_u, to_kernel, None, None


def parts(u: Tensor, at_once: int) -> Iterator[tuple[Any, ...]]:
    """Where `at_once` channels of u (B, C, N) are, in tensors (..., C, any)"""
    for first in range(0, u.shape[1], at_once):
        yield ..., slice(first, first + at_once), slice(None)


def fast_size(least: int) -> int:
    """A size from `least` to 1/8 more, 2^k times 8 to 16: FFTs of primes are slow."""
    step = 1 << max(least.bit_length() - 4, 0)
    return -(-least // step) * step
