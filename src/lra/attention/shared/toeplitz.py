"""Products with Toeplitz matrices by FFT, for state spaces (s4d, s5) and moving averages (mega)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lra.attention.base import exact


def convolve(u: Tensor, kernel: Tensor, back: Tensor | None = None) -> Tensor:
    """y_t = sum over s <= t of kernel_{t-s} u_s, and with `back` + sum over s > t of back_{s-t} u_s

    u (B, C, N); kernel, back (C, K) or (B, C, K), of at most N lags, zero beyond -> (B, C, N).

    Lag 0 is kernel's alone: back_0 is not used. In float32, or float64 if u is, under autocast too.
    """
    u, kernel = exact(u), exact(kernel)
    n, lags = u.shape[-1], kernel.shape[-1]
    size = fast_size(n + max(lags, 0 if back is None else back.shape[-1]) - 1)
    if back is not None:  # a negative lag is counted from the circle's end
        back = exact(back)[..., 1:].flip(-1)
        between = kernel.new_zeros(*kernel.shape[:-1], size - lags - back.shape[-1])
        kernel = torch.cat([kernel, between, back], dim=-1)
    return Circular.apply(u, kernel, size)


class Circular(torch.autograd.Function):
    """The first N of a circular convolution of `size` >= N places.

    apply(u (B, C, N), kernel (C, K) or (B, C, K), size) -> (B, C, N). Its gradients are products of
    the same real spectra; torch's own for rfft take a complex transform of the whole circle.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, kernel: Tensor, size: int) -> Tensor:
        spectrum, response = (torch.fft.rfft(t, n=size) for t in (u, kernel))
        ctx.save_for_backward(spectrum, response)
        ctx.sizes = u.shape[-1], kernel.shape[-1], size
        return torch.fft.irfft(spectrum * response, n=size)[..., : u.shape[-1]]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        spectrum, response = ctx.saved_tensors
        n, lags, size = ctx.sizes
        grad = torch.fft.rfft(grad, n=size)
        to_u = torch.fft.irfft(grad * response.conj(), n=size)[..., :n]
        to_kernel = (grad * spectrum.conj()).sum_to_size(response.shape)
        return to_u, torch.fft.irfft(to_kernel, n=size)[..., :lags], None


def fast_size(least: int) -> int:
    """A size from `least` to 1/8 more, 2^k times 8 to 16: FFTs of primes are slow."""
    step = 1 << max(least.bit_length() - 4, 0)
    return -(-least // step) * step
