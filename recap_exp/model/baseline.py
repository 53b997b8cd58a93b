"""Baselines: models that fit each task by itself, on all training rows at once. Shape suffixes: N rows, D features, T tasks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from recap_exp.data.schema import Schema
from recap_exp.model.base import Model
from recap_exp.model.blocks import inputs
from recap_exp.model.config import LightGBMConfig, LogisticRegressionConfig


class Baseline(Model):
    """One classifier a task, over the features as they are stored. What a library fitted is kept as tensors."""

    def __init__(self, cfg: LogisticRegressionConfig | LightGBMConfig, schema: Schema, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.inputs = inputs(cfg, schema)
        self.input_width = self.inputs.width

    def fit(self, features_ND: np.ndarray, labels_NT: np.ndarray, weights_NT: np.ndarray | None, seed: int) -> Iterator[str | None]:
        """Fits one task after the other, and yields after each what is to be said of it, or None.

        The sum over rows of weight x log loss is minimised, under the model's own penalties. `features_ND` is the model's to overwrite.
        A task whose rows are all of one class gets a constant: the weighted rate of positives p, smoothed as (sum p + 1) / (sum + 2).
        """
        prepared = self._prepare(features_ND, seed)
        for t, task in enumerate(self.tasks):
            labels_N = np.ascontiguousarray(labels_NT[:, t])
            weights_N = None if weights_NT is None else np.ascontiguousarray(weights_NT[:, t])
            mass = float(len(labels_N) if weights_N is None else weights_N.sum(dtype=np.float64))
            positive = float((labels_N if weights_N is None else labels_N * weights_N).sum(dtype=np.float64))
            if 0 < positive < mass:
                yield self._fit_task(prepared, t, labels_N, weights_N)
            else:
                self._fit_constant(t, math.log((positive + 1) / (mass - positive + 1)))
                yield f"{task}: all training rows are {'positive' if positive else 'negative'}; its probability is a constant"

    def _prepare(self, features_ND: np.ndarray, seed: int) -> Any:
        """What the fits of all tasks read."""
        raise NotImplementedError

    def _fit_task(self, prepared: Any, t: int, labels_N: np.ndarray, weights_N: np.ndarray | None) -> str | None:
        """Fits task t; what is to be said of it."""
        raise NotImplementedError

    def _fit_constant(self, t: int, logit: float) -> None:
        """Task t gets this logit on every row."""
        raise NotImplementedError
