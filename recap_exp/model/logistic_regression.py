"""Logistic regression, one a task. Shape suffixes: B batch, N rows, D features, T tasks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Schema
from recap_exp.model.baseline import Baseline
from recap_exp.model.config import LogisticRegressionConfig
from recap_exp.model.input import log1p_abs

CHUNK = 8192
"""Rows that are transformed at a time."""


class LogisticRegression(Baseline):
    """Logit w z + b of standardised features z, fitted by scikit-learn (L-BFGS).

    z = (x' - mean) / deviation, over the training rows; x' is sign(x) log(1 + |x|) for continuous features, as in the ranker's input, and x
    for the others; z of continuous features is clamped to +-clip. Non-finite features count as 0.
    """

    title = "logistic regression"
    mean_D: Tensor
    deviation_D: Tensor

    def __init__(self, cfg: LogisticRegressionConfig, schema: Schema, tasks: Sequence[str]) -> None:
        super().__init__(cfg, schema, tasks)
        self.cfg = cfg
        self.register_buffer("mean_D", torch.zeros(self.input_width))
        self.register_buffer("deviation_D", torch.ones(self.input_width))
        self.weight_TD = nn.Parameter(torch.zeros(len(self.tasks), self.input_width), requires_grad=False)
        self.bias_T = nn.Parameter(torch.zeros(len(self.tasks)), requires_grad=False)

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, T]."""
        return F.linear(self._standardised(self._finite_log(self.inputs.side_by_side(batch))), self.weight_TD, self.bias_T)

    def _finite_log(self, x_BD: Tensor) -> Tensor:
        """x', in place."""
        x_BD.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
        continuous_BC = x_BD[:, : self.inputs.continuous]
        continuous_BC.copy_(log1p_abs(continuous_BC))
        return x_BD

    def _standardised(self, x_BD: Tensor) -> Tensor:
        """z, in place."""
        x_BD.sub_(self.mean_D).div_(self.deviation_D)
        x_BD[:, : self.inputs.continuous].clamp_(-self.cfg.clip, self.cfg.clip)
        return x_BD

    def _prepare(self, features_ND: np.ndarray, seed: int) -> np.ndarray:
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        chunks = torch.from_numpy(features_ND).split(CHUNK)
        for chunk in chunks:
            scaler.partial_fit(self._finite_log(chunk).numpy())
        self.mean_D.copy_(torch.from_numpy(scaler.mean_))
        self.deviation_D.copy_(torch.from_numpy(scaler.scale_))
        for chunk in chunks:
            self._standardised(chunk)
        return features_ND

    def _fit_task(self, prepared: np.ndarray, t: int, labels_N: np.ndarray, weights_N: np.ndarray | None) -> str | None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression as Classifier
        from threadpoolctl import threadpool_limits

        with threadpool_limits(torch.get_num_threads()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            fitted = Classifier(C=self.cfg.C, max_iter=self.cfg.max_iter).fit(prepared, labels_N, sample_weight=weights_N)
        self.weight_TD[t] = torch.from_numpy(fitted.coef_[0])
        self.bias_T[t] = float(fitted.intercept_[0])
        if fitted.n_iter_[0] < self.cfg.max_iter:
            return None
        return f"{self.tasks[t]}: not converged after model.max_iter={self.cfg.max_iter} iterations"

    def _fit_constant(self, t: int, logit: float) -> None:
        self.weight_TD[t] = 0.0
        self.bias_T[t] = logit
