"""Cross entropy, relative cross entropy (RCE), and RCE of predictions scaled to the right mean (NRCE)."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np

from recap_exp.metrics.mean import WeightedMean
from recap_exp.metrics.metric import Metric, OneClassWarning, label_vector, vector, weight_vector

EPSILON = 1e-7


def binary_cross_entropy(probs: np.ndarray, labels: np.ndarray, epsilon: float = EPSILON) -> np.ndarray:
    """-(y log(p + eps) + (1 - y) log(1 - p + eps)), p clipped to [eps, 1 - eps] first: Keras's form, which counts eps twice."""
    p = np.clip(probs, epsilon, 1 - epsilon)
    return -(labels * np.log(p + epsilon) + (1 - labels) * np.log(1 - p + epsilon))


def binary_cross_entropy_of_logits(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """max(x, 0) - x y + log(1 + exp(-|x|)): no clipping needed."""
    return np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))


def smooth(labels: np.ndarray, smoothing: float) -> np.ndarray:
    """y (1 - s) + s / 2."""
    return labels * (1 - smoothing) + smoothing / 2 if smoothing else labels


class CrossEntropy(Metric):
    """Weighted mean of the binary cross entropy of predictions [N] and labels [N]; log loss, where labels are 0 and 1."""

    STATE: ClassVar[tuple[str, ...]] = ("mean",)

    def __init__(self, *, from_logits: bool = False, label_smoothing: float = 0.0, epsilon: float = EPSILON) -> None:
        self.from_logits, self.label_smoothing, self.epsilon = from_logits, label_smoothing, epsilon
        self.mean = WeightedMean()

    def reset(self) -> None:
        self.mean.reset()

    def update(self, predictions: Any, labels: Any, weights: Any = None) -> Self:
        """predictions [N] probabilities (or logits); labels [N] in [0, 1]; weights [N], a number, or None for 1."""
        p = vector(predictions, "predictions").astype(np.float64)
        y = smooth(label_vector(labels, p), self.label_smoothing)
        self.mean.update(self._losses(p, y), weights)
        return self

    def merge(self, other: Self) -> Self:
        self.mean.merge(other.mean)
        return self

    def compute(self) -> float:
        return self.mean.compute()

    def _losses(self, predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if self.from_logits:
            return binary_cross_entropy_of_logits(predictions, labels)
        return binary_cross_entropy(predictions, labels, self.epsilon)


class RCE(CrossEntropy):
    """Relative cross entropy, 100 (1 - CE(model) / CE(constant mean label)): 0 for the best constant, 100 for perfection.

    Both means are weighted; labels are smoothed before both. NaN, with a OneClassWarning, where all labels are 0 or all are 1.
    """

    STATE: ClassVar[tuple[str, ...]] = ("mean", "label", "low", "high")

    def __init__(self, *, from_logits: bool = False, label_smoothing: float = 0.0, epsilon: float = EPSILON) -> None:
        super().__init__(from_logits=from_logits, label_smoothing=label_smoothing, epsilon=epsilon)
        self.label = WeightedMean()
        self.low, self.high = np.inf, -np.inf

    def reset(self) -> None:
        super().reset()
        self.label.reset()
        self.low, self.high = np.inf, -np.inf

    def update(self, predictions: Any, labels: Any, weights: Any = None) -> Self:
        p = vector(predictions, "predictions").astype(np.float64)
        y = label_vector(labels, p)
        w = weight_vector(weights, p)
        seen = y if w is None else y[w > 0]
        if len(seen):
            self.low, self.high = min(self.low, float(seen.min())), max(self.high, float(seen.max()))
            y = smooth(y, self.label_smoothing)
            self.label.update(y, w)
            self.mean.update(self._losses(self._scaled(p, w), y), w)
        return self

    def merge(self, other: Self) -> Self:
        super().merge(other)
        self.label.merge(other.label)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        return self

    def compute(self) -> float:
        if self.high <= 0 or self.low >= 1:  # also where nothing was seen
            warnings.warn(f"{type(self).__name__} of one class is undefined", OneClassWarning, stacklevel=2)
            return float("nan")
        base = np.asarray(self.label.mean)
        return 100 * (1 - self.mean.compute() / float(binary_cross_entropy(base, base, self.epsilon)))

    def _scaled(self, predictions: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        return predictions


class NRCE(RCE):
    """RCE of the predictions times mean label / mean prediction, so that a wrong level costs nothing.

    Both means run over all examples so far, the current batch included: the result depends on how the examples fall into batches,
    and only in one batch is the scaling the same for all. Scaled predictions above 1 are clipped. Logits are turned into probabilities.
    """

    STATE = (*RCE.STATE, "prediction")

    def __init__(self, *, from_logits: bool = False, label_smoothing: float = 0.0, epsilon: float = EPSILON) -> None:
        super().__init__(label_smoothing=label_smoothing, epsilon=epsilon)
        self.sigmoid = from_logits
        self.prediction = WeightedMean()

    def reset(self) -> None:
        super().reset()
        self.prediction.reset()

    def merge(self, other: Self) -> Self:
        self.prediction.merge(other.prediction)
        return super().merge(other)

    def _scaled(self, predictions: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
        p = np.exp(-np.logaddexp(0, -predictions)) if self.sigmoid else predictions
        self.prediction.update(p, weights)
        return p * (self.label.mean / self.prediction.mean) if self.prediction.mean > 0 else p
