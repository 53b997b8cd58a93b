"""Ranking of two classes, exact: AUROC with its error, average precision, and the curves behind them.

Shapes: N examples, K distinct scores in ascending order.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from recap_exp.metrics.metric import Metric, OneClassWarning, vector, weight_vector


@dataclass(frozen=True)
class Ranking:
    """Weight of each class at every distinct score. Counts up to 2^53 are exact, so are ranks and ties."""

    scores_K: np.ndarray
    positive_K: np.ndarray
    negative_K: np.ndarray
    positive_squares_K: np.ndarray
    """Sums of the squared weights, for standard errors."""
    negative_squares_K: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None) -> Ranking:
        """From scores [N], class [N] bool, weights [N] (None: 1)."""
        distinct, place = np.unique(scores, return_inverse=True)

        def sums(values: np.ndarray | None, chosen: np.ndarray) -> np.ndarray:
            picked = None if values is None else values[chosen]
            return np.bincount(place[chosen], picked, len(distinct)).astype(np.float64)

        if weights is None:
            pos, neg = sums(None, positive), sums(None, ~positive)
            return cls(distinct, pos, neg, pos, neg)
        w = weights.astype(np.float64)
        return cls(distinct, sums(w, positive), sums(w, ~positive), sums(w**2, positive), sums(w**2, ~positive))

    @property
    def one_class(self) -> bool:
        """True where a class has no weight: nothing can be ranked."""
        return not (self.positive_K.sum() > 0 and self.negative_K.sum() > 0)

    def auroc(self) -> float:
        """P(score of a positive > score of a negative) + half of P(equal): the Mann-Whitney statistic, weighted. NaN with one class."""
        if self.one_class:
            return float("nan")
        return float(self.positive_K @ self._beaten_K) / (float(self.positive_K.sum()) * float(self.negative_K.sum()))

    def auroc_se(self) -> float:
        """Standard error of AUROC (DeLong, DeLong, Clarke-Pearson 1988), from the spread of each example's share of pairs won;
        with weights its linearised form, each example by the square of its weight. NaN where a class has fewer than two examples."""
        m, n = self._effective_sizes()
        if self.one_class or min(m, n) <= 1:
            return float("nan")
        auc, pos, neg = self.auroc(), self.positive_K.sum(), self.negative_K.sum()
        won_K = self._beaten_K / neg - auc
        lost_K = (pos - np.cumsum(self.positive_K) + self.positive_K / 2) / pos - auc
        variance_pos = self.positive_squares_K @ np.square(won_K) / pos**2 * m / (m - 1)
        variance_neg = self.negative_squares_K @ np.square(lost_K) / neg**2 * n / (n - 1)
        return float(np.sqrt(variance_pos + variance_neg))

    def auroc_z(self) -> float:
        """(AUROC - 1/2) in standard errors of a score that knows nothing, sqrt((m + n + 1) / (12 m n)) corrected for ties
        (Mann, Whitney 1947); with weights m and n are effective sizes, sum(w)^2 / sum(w^2). NaN with one class or one score."""
        m, n = self._effective_sizes()
        if self.one_class or len(self.scores_K) == 1:
            return float("nan")
        tied_K = (self.positive_K + self.negative_K) / (self.positive_K.sum() + self.negative_K.sum())
        untied = (1 - tied_K @ np.square(tied_K)) / (1 - 1 / (m + n) ** 2)  # (N^3 - sum t^3) / (N^3 - N), in shares of N
        return (self.auroc() - 0.5) / float(np.sqrt((m + n + 1) / (12 * m * n) * min(untied, 1.0)))

    def average_precision(self) -> float:
        """Sum over thresholds of (recall gained) x precision: the area under the precision-recall curve by steps. NaN with one class."""
        if self.one_class:
            return float("nan")
        recall, precision, _ = self.precision_recall()
        return float(np.diff(recall, prepend=0.0) @ precision)

    def roc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False positive rate, true positive rate, threshold (example counted as positive from there up), from the highest score down."""
        return self._share_from_above(self.negative_K), self._share_from_above(self.positive_K), self.scores_K[::-1]

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recall, precision, threshold, from the highest score down."""
        caught, called = np.cumsum(self.positive_K[::-1]), np.cumsum((self.positive_K + self.negative_K)[::-1])
        precision = np.divide(caught, called, out=np.ones_like(caught), where=called > 0)
        return self._share_from_above(self.positive_K), precision, self.scores_K[::-1]

    @cached_property
    def _beaten_K(self) -> np.ndarray:
        """Weight of the negatives that a positive with each score beats, ties by half."""
        return np.cumsum(self.negative_K) - self.negative_K / 2

    def _effective_sizes(self) -> tuple[float, float]:
        def size(weight_K: np.ndarray, squares_K: np.ndarray) -> float:
            return float(weight_K.sum() ** 2 / squares_K.sum()) if squares_K.sum() > 0 else 0.0

        return size(self.positive_K, self.positive_squares_K), size(self.negative_K, self.negative_squares_K)

    @staticmethod
    def _share_from_above(weight_K: np.ndarray) -> np.ndarray:
        total = weight_K.sum()
        return np.cumsum(weight_K[::-1]) / total if total > 0 else np.full(len(weight_K), np.nan)


class AUROC(Metric):
    """Area under the ROC curve, exact (see `Ranking.auroc`). Labels above `label_threshold` are positive.

    Keeps every score: 5 bytes an example for float32 scores without weights, 13 with. With one class NaN and a OneClassWarning,
    or, where one_class="error", a ValueError.
    """

    STATE = ("scores", "positive", "weights")

    def __init__(self, *, label_threshold: float = 0.5, one_class: Literal["warn", "error"] = "warn") -> None:
        self.label_threshold, self.one_class = label_threshold, one_class
        self.reset()

    def reset(self) -> None:
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]] = []

    def update(self, predictions: Any, labels: Any, weights: Any = None) -> Self:
        """predictions [N] of any scale; labels [N]; weights [N], a number, or None for 1."""
        scores = vector(predictions, "predictions")
        self.parts.append((scores.copy(), vector(labels, "labels", scores) > self.label_threshold, weight_vector(weights, scores)))
        return self

    def merge(self, other: Self) -> Self:
        self.parts += other.parts
        return self

    def compute(self) -> float:
        ranking = self.ranking()
        if ranking.one_class:
            message = f"AUROC of one class is undefined ({int(self.positive.sum())} positives among {len(self.scores)} examples)"
            if self.one_class == "error":
                raise ValueError(message)
            warnings.warn(message, OneClassWarning, stacklevel=2)
        return ranking.auroc()

    def ranking(self) -> Ranking:
        """Everything seen, ranked."""
        return Ranking.of(self.scores, self.positive, self.weights)

    @property
    def scores(self) -> np.ndarray:
        return np.concatenate([s for s, _, _ in self.parts]) if self.parts else np.empty(0, np.float32)

    @property
    def positive(self) -> np.ndarray:
        return np.concatenate([p for _, p, _ in self.parts]) if self.parts else np.empty(0, bool)

    @property
    def weights(self) -> np.ndarray | None:
        if all(w is None for _, _, w in self.parts):
            return None
        return np.concatenate([np.ones(len(s)) if w is None else w for s, _, w in self.parts])

    def load_state_dict(self, state: dict[str, Any]) -> Self:
        self.parts = [(state["scores"], state["positive"], state["weights"])]
        return self
