"""What can be said of one task by counting."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from recap_exp.metrics.mean import WeightedMean
from recap_exp.metrics.metric import Metric, label_vector, vector, weight_vector


class ClassSums(Metric):
    """Examples, positives, mean label, mean probability, precision and recall at a threshold. Means and shares are weighted."""

    STATE = ("examples", "positives", "label", "prediction", "called", "actual", "caught")

    def __init__(self, *, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self.label, self.prediction = WeightedMean(), WeightedMean()
        self.reset()

    def reset(self) -> None:
        self.examples = self.positives = 0
        self.called = self.actual = self.caught = 0.0
        self.label.reset()
        self.prediction.reset()

    def update(self, probs: Any, labels: Any, weights: Any = None) -> Self:
        """probs [N]; labels [N], positive above 0.5; weights [N], a number, or None for 1."""
        p = vector(probs, "probs")
        y = label_vector(labels, p)
        w = weight_vector(weights, p)
        positive, called = y > 0.5, p > self.threshold
        self.examples += len(p)
        self.positives += int(positive.sum())
        self.label.update(y, w)
        self.prediction.update(p, w)
        weight = np.ones(len(p)) if w is None else w
        self.called += float(weight[called].sum())
        self.actual += float(weight[positive].sum())
        self.caught += float(weight[called & positive].sum())
        return self

    def merge(self, other: Self) -> Self:
        for name in ("examples", "positives", "called", "actual", "caught"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.label.merge(other.label)
        self.prediction.merge(other.prediction)
        return self

    def compute(self) -> float:
        """Calibration ratio, mean probability / mean label: 1 where the level is right. NaN without positives."""
        return self.pctr / self.ctr if self.ctr > 0 else float("nan")

    @property
    def ctr(self) -> float:
        """Mean label."""
        return self.label.compute()

    @property
    def pctr(self) -> float:
        """Mean probability."""
        return self.prediction.compute()

    @property
    def precision(self) -> float:
        """Share of positives among those above the threshold; NaN where none is above."""
        return self.caught / self.called if self.called > 0 else float("nan")

    @property
    def recall(self) -> float:
        """Share of the positives that are above the threshold; NaN without positives."""
        return self.caught / self.actual if self.actual > 0 else float("nan")
