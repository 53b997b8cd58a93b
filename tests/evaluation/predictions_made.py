"""Predictions for tests: ten tasks whose labels come from known probabilities, each with a signal of its own."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from recap_exp.model.predictions import Predictions

TASKS = tuple(f"task_{i}" for i in range(10))
RATES = np.geomspace(0.4, 0.03, 10)


def predictions(n: int = 2000, seed: int = 0, tasks: tuple[str, ...] = TASKS, signal: float = 1.0, **columns) -> Predictions:
    """`columns` replace or add to what is made."""
    rng = np.random.default_rng(seed)
    t = len(tasks)
    strength = np.linspace(0.2, 1.5, 10)[:t]
    true_logits = rng.normal(size=(n, t)) * strength + np.log(RATES / (1 - RATES))[:t]
    truths = 1 / (1 + np.exp(-true_logits))
    logits = (true_logits * signal + rng.normal(size=(n, t)) * 0.3).astype(np.float32)
    probs = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    made = {"probs_NT": probs, "calibrated_NT": probs, "labels_NT": (rng.random((n, t)) < truths).astype(np.float32)}
    return Predictions(tasks=tasks, logits_NT=logits, **{**made, **columns})


def split(whole: Predictions, *cuts: int) -> list[Predictions]:
    """The same rows in chunks."""

    def rows(array, a, b):
        return None if array is None else array[a:b]

    ends = [0, *cuts, len(whole)]
    names = ("logits_NT", "probs_NT", "calibrated_NT", "labels_NT", "weights_NT", "truths_NT")
    return [
        Predictions(
            tasks=whole.tasks,
            **{name: rows(getattr(whole, name), a, b) for name in names},
            extras={name: column[a:b] for name, column in whole.extras.items()},
        )
        for a, b in pairwise(ends)
    ]


def truths(n: int = 2000, seed: int = 0) -> np.ndarray:
    """The probabilities from which `predictions(n, seed)` drew its labels."""
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-(rng.normal(size=(n, 10)) * np.linspace(0.2, 1.5, 10) + np.log(RATES / (1 - RATES)))))
