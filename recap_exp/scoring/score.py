"""The score of a candidate: the weighted sum of its probabilities, and the serving side's map of it to a positive number.

Shape suffixes: N candidates, T tasks, E engagements (the terms of the score).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recap_exp.errors import DataError
from recap_exp.model.predictions import Predictions
from recap_exp.scoring.config import ScoringConfig
from recap_exp.scoring.weights import Weights, resolve


@dataclass(frozen=True, kw_only=True)
class Scores:
    """N candidates scored with one weight set."""

    weights: Weights
    contributions_NE: np.ndarray
    """float64, weight x probability of each term."""
    sum_N: np.ndarray
    """float64, the weighted sum. Distributions and group tests read this one: the map squeezes all negative sums into [0, epsilon)."""
    score_N: np.ndarray
    """float64, what a feed ranks by: the sum, mapped where the weight set says so. It orders candidates as the sum does."""

    def __len__(self) -> int:
        return len(self.sum_N)

    @cached_property
    def mean_E(self) -> np.ndarray:
        """Mean contribution of each term, with its sign."""
        return self.contributions_NE.mean(axis=0)

    @cached_property
    def share_E(self) -> np.ndarray:
        """Each term's share of the mean contributions, signs apart; all 0 where nothing contributes."""
        return np.abs(self.mean_E) / (np.abs(self.mean_E).sum() or 1.0)

    @cached_property
    def order(self) -> np.ndarray:
        """Rows from the best to the worst; equal scores stay in the order of the data."""
        return np.argsort(-self.sum_N, kind="stable")

    @cached_property
    def rank(self) -> np.ndarray:
        """Place of each row, 1 = best."""
        rank_N = np.empty(len(self), dtype=np.int64)
        rank_N[self.order] = np.arange(1, len(self) + 1)
        return rank_N


def score(probs_NT: np.ndarray, tasks: Sequence[str], weights: Weights) -> Scores:
    """score_n = sum over terms weight x probability of its task, in double precision; the columns of `probs_NT` are named by `tasks`.

    Raises DataError naming row and task where a probability is outside [0, 1] or NaN.
    """
    columns = weights.columns(tasks)
    probs_NE = np.asarray(probs_NT)[:, columns].astype(np.float64)
    right_NE = (probs_NE >= 0) & (probs_NE <= 1)
    if not right_NE.all():
        row, term = np.argwhere(~right_NE)[0]
        raise DataError(f"row {row}: the probability of task '{weights.terms[term].task}' is {probs_NE[row, term]}, not in [0, 1]")
    contributions_NE = probs_NE * weights.weight_E
    sum_N = contributions_NE.sum(axis=1)
    score_N = positive(sum_N, weights) if weights.positive_mapping else sum_N
    return Scores(weights=weights, contributions_NE=contributions_NE, sum_N=sum_N, score_N=score_N)


def positive(sum_N: np.ndarray, weights: Weights) -> np.ndarray:
    """Serving's map of a sum s: s + eps if s >= 0, else (s + N) / (P + N) eps; max(s, 0) where all weights are 0.

    N and P: sums of the sizes of the negative and of the positive weights. As s >= -N, the result is never negative. It keeps the
    order of the sums; at 0 it jumps from N / (P + N) eps to eps (home mixer, 2023).
    """
    negative_size, positive_size, epsilon = weights.negative_size, weights.positive_size, weights.epsilon
    if negative_size + positive_size == 0:
        return np.maximum(sum_N, 0.0)
    below_N = np.maximum(sum_N + negative_size, 0.0) / (positive_size + negative_size) * epsilon
    return np.where(sum_N >= 0, sum_N + epsilon, below_N)


def chosen_probabilities(predictions: Predictions, cfg: ScoringConfig) -> np.ndarray:
    """The probabilities that `cfg.probabilities` names, float32 [N, T]."""
    return predictions.calibrated_NT if cfg.probabilities == "calibrated" else predictions.probs_NT


def score_predictions(predictions: Predictions, cfg: ScoringConfig) -> Scores:
    """Weights resolved against the predictions' tasks (equal_share: set by these very predictions), then `score`."""
    return score_probabilities(chosen_probabilities(predictions, cfg), predictions.tasks, cfg)


def score_probabilities(probs_NT: np.ndarray, tasks: Sequence[str], cfg: ScoringConfig) -> Scores:
    """As `score_predictions`, of probabilities chosen already."""
    return score(probs_NT, tasks, resolve(cfg, tasks, probs_NT))
