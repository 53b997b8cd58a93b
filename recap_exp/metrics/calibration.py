"""Does a probability of 0.1 come true one time in ten?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recap_exp.metrics.ranking import Ranking

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Reliability:
    """At most K bins of about equal weight in ascending order of probability; equal probabilities share a bin."""

    prob_K: np.ndarray
    """Mean probability."""
    rate_K: np.ndarray
    """Share of positives."""
    low_K: np.ndarray
    """Lower end of the share's 95 % interval (Wilson 1927), on the effective number of examples sum(w)^2 / sum(w^2)."""
    high_K: np.ndarray
    """Its upper end."""

    @classmethod
    def of(cls, ranking: Ranking, bins: int) -> Reliability:
        """From probabilities ranked against their labels."""
        weight_K = ranking.positive_K + ranking.negative_K
        squares_K = ranking.positive_squares_K + ranking.negative_squares_K
        middle_K = np.cumsum(weight_K) - weight_K / 2
        place_K = np.minimum((middle_K / weight_K.sum() * bins).astype(np.int64), bins - 1)

        def total(values_K: np.ndarray) -> np.ndarray:
            return np.bincount(place_K, values_K, bins)

        weight = total(weight_K)
        full = weight > 0
        weight = weight[full]
        rate, n = total(ranking.positive_K)[full] / weight, weight**2 / total(squares_K)[full]
        centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        half = Z95 / (1 + Z95**2 / n) * np.sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
        prob = total(weight_K * ranking.scores_K)[full] / weight
        return cls(prob, rate, np.clip(centre - half, 0, rate), np.clip(centre + half, rate, 1))
