"""The hidden function of planted data: shared factors, some of them products as mask blocks can express, then one logit a task.

Shape suffixes: N rows, C continuous, I binary, J discrete, E embedding width, F factors, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from recap_exp.data.made.config import NEGATIVE_LABELS, PlantedSource
from recap_exp.data.made.draws import generator

SIGNAL = 1.5
"""Standard deviation of a task's true logit."""

SHARES = {
    "level": 0.36,
    "trend": 0.16,
    "flags": 0.16,
    "affinity": 0.12,
    "engagement": 0.04,
    "gated": 0.09,
    "product": 0.05,
    "category": 0.02,
}
"""Average share of each factor in a task's logit variance."""


@dataclass(kw_only=True)
class Features:
    """What is known of N impressions; z is the continuous block before its heavy tails."""

    z_NC: np.ndarray
    binary_NI: np.ndarray
    discrete_NJ: np.ndarray
    user_NE: np.ndarray
    user_eng_NE: np.ndarray
    author_NE: np.ndarray


class HiddenFunction:
    """p_t(x) = sigmoid(intercept_t + SIGNAL * (loadings_t . factors(x)) / deviation_t)."""

    def __init__(self, source: PlantedSource, rate_I: np.ndarray) -> None:
        """Draw the weights from the seed; a task's loadings depend on its label's name alone, not on the other tasks."""
        rng = generator(source.seed, "hidden")
        self.labels = list(source.rates)
        self.rates_T = np.array(list(source.rates.values()))
        self.rate_I = rate_I
        # disjoint sets of continuous features: two sums, one that a flag switches, one that multiplies the level
        wide = source.continuous // 8
        chosen = rng.permutation(source.continuous)[: 2 * wide + 2]
        self.sets = np.split(chosen, (wide, 2 * wide, 2 * wide + 1))
        self.set_weights = [rng.choice([-1, 1], size=len(s)) * rng.uniform(0.5, 1.5, len(s)) for s in self.sets]
        self.flag_weights = rng.standard_normal(source.binary)
        self.category_JV = rng.standard_normal((source.discrete, 10))
        share_F = np.array(list(SHARES.values()))
        sign_F = rng.choice([-1.0, 1.0], size=len(SHARES))
        # what speaks for a post keeps people from reporting it; being active makes all engagements likelier
        against_F = np.where(np.array(list(SHARES)) == "trend", 1.0, -1.0)
        loadings = []
        for label in source.rates:
            own = generator(source.seed, f"loadings/{label}")
            flip_F = np.where(own.random(len(SHARES)) < 0.05, -1.0, 1.0)
            side_F = against_F if label in NEGATIVE_LABELS else np.ones(len(SHARES))
            loadings.append(sign_F * side_F * flip_F * np.sqrt(share_F * own.uniform(0.6, 1.4, len(SHARES))))
        self.loadings_FT = np.array(loadings).T
        self.mean_F, self.std_F = np.zeros(len(SHARES)), np.ones(len(SHARES))
        self.std_T, self.intercept_T = np.ones(len(self.rates_T)), np.zeros(len(self.rates_T))

    def factors(self, x: Features) -> np.ndarray:
        """[N, F], in the order of SHARES, not standardised."""
        level, trend, gated, other = (x.z_NC[:, s] @ w for s, w in zip(self.sets, self.set_weights, strict=True))
        flags = (x.binary_NI - self.rate_I) @ self.flag_weights
        affinity = _similarity(x.user_NE, x.author_NE)
        engagement = _similarity(x.user_eng_NE, x.author_NE)
        gate = x.binary_NI[:, 0] - 0.5
        category = self.category_JV[np.arange(self.category_JV.shape[0]), x.discrete_NJ].sum(axis=1)
        return np.stack([level, trend, flags, affinity, engagement, gate * gated, level * other, category], axis=1)

    def calibrate(self, x: Features) -> None:
        """Standardise factors and logits, and set each intercept so that the mean probability is the task's base rate, on these rows."""
        factors_NF = self.factors(x)
        self.mean_F, self.std_F = factors_NF.mean(axis=0), factors_NF.std(axis=0)
        signal_NT = ((factors_NF - self.mean_F) / self.std_F) @ self.loadings_FT
        self.std_T = signal_NT.std(axis=0)
        signal_NT *= SIGNAL / self.std_T
        low_T, high_T = np.full_like(self.rates_T, -30.0), np.full_like(self.rates_T, 30.0)
        for _ in range(40):
            middle_T = (low_T + high_T) / 2
            above_T = expit(signal_NT + middle_T).mean(axis=0) > self.rates_T
            low_T, high_T = np.where(above_T, low_T, middle_T), np.where(above_T, middle_T, high_T)
        self.intercept_T = (low_T + high_T) / 2

    def to_json(self) -> dict[str, Any]:
        """What drives each task: loadings of standardised factors in units of the logit, and intercepts."""
        loadings_FT = SIGNAL * self.loadings_FT / self.std_T
        tasks = {
            label: {"intercept": round(float(self.intercept_T[t]), 6), "loadings": [round(float(v), 6) for v in loadings_FT[:, t]]}
            for t, label in enumerate(self.labels)
        }
        return {"factors": list(SHARES), "tasks": tasks}

    def probs(self, x: Features) -> np.ndarray:
        """[N, T] float64 true probabilities."""
        signal_NT = ((self.factors(x) - self.mean_F) / self.std_F) @ self.loadings_FT
        return expit(self.intercept_T + SIGNAL * signal_NT / self.std_T)


def _similarity(a_NE: np.ndarray, b_NE: np.ndarray) -> np.ndarray:
    """Correlation of two embeddings: the dot product of what a LayerNorm makes of them."""
    a, b = (e - e.mean(axis=1, keepdims=True) for e in (a_NE, b_NE))
    return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
