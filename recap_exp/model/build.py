"""From a model's configuration to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from recap_exp.data.schema import Schema
from recap_exp.model.base import Model
from recap_exp.model.boosted_trees import BoostedTrees
from recap_exp.model.config import ModelConfig
from recap_exp.model.logistic_regression import LogisticRegression
from recap_exp.model.ranker import Ranker

MODELS: dict[str, Callable[[Any, Schema, Sequence[str]], Model]] = {
    "ranker": Ranker,
    "logistic_regression": LogisticRegression,
    "lightgbm": BoostedTrees,
}
"""By `kind`."""


def build(cfg: ModelConfig, schema: Schema, tasks: Sequence[str]) -> Model:
    """A model of `cfg.kind` that has learned nothing, for data of this schema; a ranker's weights are drawn from torch's random state."""
    return MODELS[cfg.kind](cfg, schema, tasks)
