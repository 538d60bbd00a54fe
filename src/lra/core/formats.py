"""How tables, figures and commands write numbers: p-values, durations, differences, units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

MINUS = "−"  # as long as a plus
# Units by name, the smallest first.
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
JOULES = {"J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9}
BYTES = {"MB": 1e6, "GB": 1e9}


def number(value: float | None, unit: float = 1.0, digits: int = 3) -> str:
    """`value` in units of `unit`, with at least so many significant digits; `-` for None."""
    if value is None:
        return "-"
    text = f"{value / unit:#.{digits}g}"
    return text if abs(float(text)) < 10 ** (digits - 1) else f"{value / unit:,.0f}"


def signed(value: float, digits: int = 2) -> str:
    """With a sign and so many decimals; a value that rounds to 0 has no sign."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def times(factor: float | None) -> str:
    """2.5×, or nothing for None."""
    return "" if factor is None else f"{factor:.{1 if factor >= 1 else 2}f}×"


def p_value(p: float | None) -> str:
    """To two digits, or `< 0.001`; `-` for None."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:#.2g}" if p < 0.995 else "1.0"


def decimals(n: int) -> int:
    """Of an accuracy in percent on n > 0 test examples: what one example changes, at most two.

    400 examples give one decimal, 2,000 two.
    """
    return min(2, max(0, math.ceil(math.log10(n)) - 2))


def elapsed(seconds: float) -> str:
    """In the unit that fits: 5.8 s, 1.5 min, 12 h."""
    unit, size = fitting_unit([seconds], SECONDS)
    return f"{number(seconds, size, digits=2)} {unit}"


def duration(hours: float) -> str:
    """h:mm:ss"""
    seconds = round(3600 * hours)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def listed(values: Iterable[object]) -> str:
    """a, b, c"""
    return ", ".join(map(str, values))


def fitting_unit(
    values: Iterable[float | None], units: Mapping[str, float], least: float = 1.0
) -> tuple[str, float]:
    """The largest of `units` in which the smallest value is at least `least`: its name and size.

    The first of `units` where none fits, or every value is None. For BYTES take `least` 0.1.
    """
    known = [value for value in values if value is not None]
    fitting = [each for each in units.items() if known and min(known) >= least * each[1]]
    return fitting[-1] if fitting else next(iter(units.items()))
