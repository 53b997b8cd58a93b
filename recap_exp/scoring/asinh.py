"""Axes of scores whose tail dwarfs the bulk: linear in the middle, logarithmic on either side."""

from __future__ import annotations

import numpy as np


def linear_width(sum_N: np.ndarray) -> float | None:
    """Half-width of the linear middle of an asinh axis, for scores whose tail dwarfs the bulk: a sure report alone weighs -369.
    None: a linear axis will do."""
    low, first, third, high = np.quantile(sum_N, [0.001, 0.25, 0.75, 0.999])
    spread = float(third - first)
    return spread if spread > 0 and high - low > 15 * spread else None


def ticks(width: float, low: float, high: float) -> list[float]:
    """0 and, on either side, the powers of ten beyond the linear middle."""
    powers = 10.0 ** np.arange(np.ceil(np.log10(2 * width)), 9)
    return [t for t in (*-powers[::-1], 0.0, *powers) if low <= t <= high]
