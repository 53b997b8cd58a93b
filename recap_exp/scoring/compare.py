"""How the ranking of the same candidates changes between weight sets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from recap_exp.model.predictions import Predictions
from recap_exp.scoring.config import ScoringConfig
from recap_exp.scoring.score import Scores, chosen_probabilities, score_probabilities


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The rankings of two weight sets; all of it symmetric."""

    spearman: float
    """Rank correlation; NaN where a set gives all candidates one score."""
    kendall: float
    """tau-b, ties counted."""
    overlap: dict[str, float]
    """Share of the best k that both have in common, by `top_10`, `top_100`, `top_1pct`. Depths that hold all candidates are left out."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several weight sets over the same candidates, the first of them the base."""

    scores: dict[str, Scores]
    pairs: dict[tuple[str, str], Pair]
    """By names, in the order of `scores`."""

    @property
    def base(self) -> str:
        """The weight set that the others are compared with."""
        return next(iter(self.scores))

    def with_base(self) -> dict[str, Pair]:
        """Every other weight set against the base."""
        return {b: pair for (a, b), pair in self.pairs.items() if a == self.base}

    def table(self) -> dict[str, list[object]]:
        """One row a pair."""
        depths = list(dict.fromkeys(k for p in self.pairs.values() for k in p.overlap))
        columns: dict[str, list[object]] = {
            "weights": [a for a, _ in self.pairs],
            "other_weights": [b for _, b in self.pairs],
            "spearman": [p.spearman for p in self.pairs.values()],
            "kendall_tau_b": [p.kendall for p in self.pairs.values()],
        }
        return columns | {f"{k}_overlap": [p.overlap[k] for p in self.pairs.values()] for k in depths}

    def movers(self, other: str, names: Mapping[str, np.ndarray], count: int = 10) -> dict[str, list[object]]:
        """The `count` candidates whose place changes most from the base to `other`: row, names, both places, places won (+) or lost."""
        before_N, after_N = self.scores[self.base].rank, self.scores[other].rank
        up_N = before_N - after_N
        rows = np.argsort(-np.abs(up_N), kind="stable")[:count]
        columns: dict[str, list[object]] = {"row": rows.tolist(), **{k: v[rows].tolist() for k, v in names.items()}}
        return columns | {f"rank_{self.base}": before_N[rows].tolist(), f"rank_{other}": after_N[rows].tolist(), "up": up_N[rows].tolist()}


def compare(predictions: Predictions, scorings: Mapping[str, ScoringConfig]) -> Comparison:
    """Every weight set of `scorings` applied to the same probabilities, those that the first one chooses, and every two of them compared.

    The first is the base. So only weights differ, whatever the others say of raw and calibrated.
    """
    probs_NT = chosen_probabilities(predictions, next(iter(scorings.values())))
    scores = {name: score_probabilities(probs_NT, predictions.tasks, cfg) for name, cfg in scorings.items()}
    names = list(scores)
    orders = {name: scores[name].order for name in names}
    pairs = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            overlap = {label: _overlap(orders[a], orders[b], k) for label, k in depths(len(orders[a])).items()}
            spearman, kendall = _correlations(scores[a].sum_N, scores[b].sum_N)
            pairs[a, b] = Pair(spearman=spearman, kendall=kendall, overlap=overlap)
    return Comparison(scores=scores, pairs=pairs)


def depths(candidates: int) -> dict[str, int]:
    """The depths at which the best are compared: 10, 100 and 1 % (rounded up), as far as they are less than all."""
    wanted = {"top_10": 10, "top_100": 100, "top_1pct": math.ceil(candidates / 100)}
    return {label: k for label, k in wanted.items() if k < candidates}


def _overlap(order_a: np.ndarray, order_b: np.ndarray, k: int) -> float:
    return len(np.intersect1d(order_a[:k], order_b[:k], assume_unique=True)) / k


def _correlations(a_N: np.ndarray, b_N: np.ndarray) -> tuple[float, float]:
    if len(a_N) < 2 or np.ptp(a_N) == 0 or np.ptp(b_N) == 0:
        return math.nan, math.nan
    return float(stats.spearmanr(a_N, b_N).statistic), float(stats.kendalltau(a_N, b_N).statistic)
