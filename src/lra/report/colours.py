"""Colours as #rrggbb, and how well one is seen on another."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

LEAST = 3.0  # contrast of a mark against its ground (WCAG 2.2, 1.4.11)


def legible(colour: str, ground: str) -> str:
    """The same hue, as much lighter or darker as it needs for a contrast of LEAST."""
    hue, light, saturation = colorsys.rgb_to_hls(*parts(colour))
    step = -0.01 if luminance(ground) > 0.2 else 0.01
    while contrast(colour, ground) < LEAST:
        light += step
        colour = as_hex(colorsys.hls_to_rgb(hue, light, saturation))
    return colour


def contrast(one: str, other: str) -> float:
    """Of two colours: 1 to 21 (WCAG 2.2)."""
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """0 of black to 1 of white (WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def parts(colour: str) -> list[float]:
    return [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]


def as_hex(rgb: Iterable[float]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
