"""Functions compiled by numba, kept on disk where there is a folder for them."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def compiled(function: Callable, **options: bool) -> Callable:
    """`function` compiled, with numba's options.

    Where neither its folder nor the user's cache can be written, each process compiles it anew.
    """
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:  # numba finds no such folder
        return njit(**options)(function)
