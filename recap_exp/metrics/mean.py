"""A weighted mean that stays exact however large the values or long the stream."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from recap_exp.metrics.metric import Metric, vector, weight_vector


class WeightedMean(Metric):
    """sum(w x) / sum(w), by Welford's update: mean += (batch mean - mean) x batch weight / total weight.

    Sums are no longer than a batch and in double precision, so that a long stream does not drift and no float32 overflows.
    A batch of weight 0 changes nothing; without any weight NaN.
    (Welford 1962; West 1979 for the weights; Chan, Golub, LeVeque 1979 for merging.)
    """

    STATE = ("mean", "weight")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.mean = 0.0
        self.weight = 0.0

    def update(self, values: Any, weights: Any = None) -> Self:
        """values [N]; weights [N], a number, or None for 1."""
        x = vector(values, "values").astype(np.float64)
        w = weight_vector(weights, x)
        total = float(len(x) if w is None else w.sum())
        if total > 0:
            self._add(float(x.mean() if w is None else w @ x / total), total)
        return self

    def merge(self, other: Self) -> Self:
        if other.weight > 0:
            self._add(other.mean, other.weight)
        return self

    def compute(self) -> float:
        return self.mean if self.weight > 0 else float("nan")

    def _add(self, mean: float, weight: float) -> None:
        self.weight += weight
        self.mean += (mean - self.mean) * (weight / self.weight)
