"""From ranks to numbers: each measure is the mean of a column with one value an edge and side, for models and for chance alike.

Shapes: E edges, S sides (left, right, or one of them).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Columns = dict[str, np.ndarray]
"""Measure -> its value of every edge and side, [E, S]."""


def of_ranks(rank_ES: np.ndarray, hits: Sequence[int]) -> Columns:
    """mrr: 1 / rank; hits_at_K: whether rank <= K; mean_rank: rank."""
    return {"mrr": 1 / rank_ES, **{f"hits_at_{k}": (rank_ES <= k).astype(np.float64) for k in hits}, "mean_rank": rank_ES}


def of_chance(candidates_ES: np.ndarray, hits: Sequence[int]) -> Columns:
    """What a ranking by chance is expected to reach, exactly: of n candidates the true one's rank is 1 ... n alike, so that
    E[1 / rank] = H_n / n, E[rank <= K] = min(K, n) / n, E[rank] = (n + 1) / 2."""
    from scipy.special import digamma

    n_ES = candidates_ES.astype(np.float64)
    harmonic_ES = digamma(n_ES + 1) + np.euler_gamma
    return {"mrr": harmonic_ES / n_ES, **{f"hits_at_{k}": np.minimum(k, n_ES) / n_ES for k in hits}, "mean_rank": (n_ES + 1) / 2}


def mean(value_ES: np.ndarray) -> float:
    """Over edges and sides, both sides with the same weight; NaN without edges."""
    return float(value_ES.mean()) if value_ES.size else float("nan")


def error(value_ES: np.ndarray) -> float:
    """Standard error of that mean, edges taken as drawn one by one: deviation of the edges' values, each the mean of its sides, over the
    root of their number. NaN below two edges. Edges that share their nodes vary together, of which it knows nothing."""
    value_E = value_ES.mean(1)
    return float(value_E.std(ddof=1) / np.sqrt(len(value_E))) if len(value_E) > 1 else float("nan")


def interval(value_ES: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of that mean by the percentiles of 1,999 bootstrap samples of the edges: within the measure's own bounds, however few
    edges there are. NaN below two."""
    from scipy.stats import bootstrap

    value_E = value_ES.mean(1)
    if len(value_E) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    found = bootstrap((value_E,), np.mean, n_resamples=1999, batch=max(1, 2**20 // len(value_E)), method="percentile", rng=rng)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
