"""Figures that stand side by side, with equally many decimals each."""

from __future__ import annotations

import math
from collections.abc import Iterable

_SIGNIFICANT_DIGITS = 3


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals give the largest of some figures three significant digits; None and NaN do not count."""
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return 0
    # As it comes out when rounded: 99.96 is shown as 100.
    exponent = int(f"{largest:.{_SIGNIFICANT_DIGITS - 1}e}".partition("e")[2])
    return max(_SIGNIFICANT_DIGITS - 1 - exponent, 0)


def rounded(value: float | None, places: int) -> str:
    """A figure with so many decimals, such as "1,234" or "-0.25"; a dash where it is None or not finite."""
    if value is None or not math.isfinite(value):
        return "–"
    # Adding 0 turns a negative zero into a plain one.
    return f"{round(value, places) + 0.0:,.{places}f}"
