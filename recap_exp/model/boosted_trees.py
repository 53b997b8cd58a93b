"""Gradient-boosted trees by LightGBM, one model a task. Shape suffixes: B batch, N rows, D features, T tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Schema
from recap_exp.errors import CheckpointError, first_line, require_package
from recap_exp.model.baseline import Baseline
from recap_exp.model.config import LightGBMConfig

if TYPE_CHECKING:
    from lightgbm import Booster, Dataset


class BoostedTrees(Baseline):
    """Logit: the sum of a leaf's value a tree (Ke et al. 2017, LightGBM), on raw features; non-finite ones count as missing.

    The state holds each task's trees as LightGBM's own text, which is parsed and never run: `trees_K`, uint8, as long as it takes, for the
    K-th task; empty for a task with a constant, which is in `constant_T`.
    """

    title = "LightGBM"
    requires = ("lightgbm",)
    constant_T: Tensor

    def __init__(self, cfg: LightGBMConfig, schema: Schema, tasks: Sequence[str]) -> None:
        require_package("lightgbm", f"model={cfg.name}")
        super().__init__(cfg, schema, tasks)
        self.cfg = cfg
        self.register_buffer("constant_T", torch.zeros(len(self.tasks)))
        for t in range(len(self.tasks)):
            self.register_buffer(_trees(t), torch.empty(0, dtype=torch.uint8))
        self._parsed: dict[int, tuple[bytes, Booster]] = {}

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, T]."""
        x_BD = _missing(self.inputs.side_by_side(batch).cpu().numpy())
        logits_BT = self.constant_T.repeat(len(x_BD), 1)
        for t in range(len(self.tasks)):
            if booster := self._booster(t):
                logits_BT[:, t] = torch.from_numpy(booster.predict(x_BD, raw_score=True, num_threads=torch.get_num_threads()))
        return logits_BT

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Texts of trees take the stored ones' lengths."""
        for t in range(len(self.tasks)):
            if len(shape := shapes.get(_trees(t), ())) == 1:
                self.register_buffer(_trees(t), torch.zeros(shape, dtype=torch.uint8, device=self.device))

    def _booster(self, t: int) -> Booster | None:
        text = bytes(self.get_buffer(_trees(t)).cpu().numpy())
        if not text:
            return None
        if self._parsed.get(t, (b"",))[0] != text:
            import lightgbm

            try:
                booster = lightgbm.Booster(model_str=text.decode())
            except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
                raise CheckpointError(f"the trees of task '{self.tasks[t]}' are damaged: {first_line(error)}") from error
            self._parsed[t] = (text, booster)
        return self._parsed[t][1]

    def _prepare(self, features_ND: np.ndarray, seed: int) -> tuple[Dataset, dict[str, Any]]:
        import lightgbm

        parameters = {
            "objective": "binary",
            "num_leaves": self.cfg.leaves,
            "learning_rate": self.cfg.rate,
            "min_data_in_leaf": self.cfg.min_rows,
            "lambda_l2": self.cfg.l2,
            "feature_fraction": self.cfg.feature_share,
            "seed": seed % 2**31,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": torch.get_num_threads(),
            "verbosity": -1,
        }
        return lightgbm.Dataset(_missing(features_ND), params=parameters).construct(), parameters

    def _fit_task(self, prepared: Any, t: int, labels_N: np.ndarray, weights_N: np.ndarray | None) -> str | None:
        import lightgbm

        dataset, parameters = prepared
        # set_weight would leave the weights of the task before where these are all 1.
        dataset.set_label(labels_N).set_field("weight", weights_N)
        self._store(t, lightgbm.train(parameters, dataset, num_boost_round=self.cfg.trees).model_to_string().encode())
        return None

    def _fit_constant(self, t: int, logit: float) -> None:
        self.constant_T[t] = logit
        self._store(t, b"")

    def _store(self, t: int, text: bytes) -> None:
        stored = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(0, dtype=torch.uint8)
        self.register_buffer(_trees(t), stored.to(self.device))


def _trees(t: int) -> str:
    """The buffer of task t's trees; tasks are counted, since a name may hold what a buffer's can't."""
    return f"trees_{t}"


def _missing(x_BD: np.ndarray) -> np.ndarray:
    """Infinities as NaN, which LightGBM takes for missing; in place."""
    x_BD[np.isinf(x_BD)] = np.nan
    return x_BD
