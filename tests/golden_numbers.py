"""Arrays that the original system produced, and our counterpart of each of its models.

    golden = golden_model("share_all")
    golden.state        the original's entries before training, for recap_exp.interop.load_original_state
    golden.grads        gradients of train/loss, by the original's names
    golden["eval/logits"], golden["train/loss"], ...
    golden.config, golden.schema, golden.tasks, golden.batch()      what our ranker is built from, and its input

    adam = golden_adam("adam")      three steps on golden_model("share_all").batch() in training mode, with the original's Adam
                                    and ramps ("adamfast": all ramps 2 steps long)
    adam["lr_before_step"] (3, 11), adam["lr_next"] (11,), adam["group_names"] (11,), adam["loss_per_step"] (3,)
    after_three_steps(adam)         the state after them, by the original's names

To compare parameters or gradients by name, load them into a second ranker with load_original_state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recap_exp.data.batch import Batch
from recap_exp.data.schema import Block, Schema
from recap_exp.model.config import BatchNormConfig, MaskBlockConfig, MaskNetConfig, MLPConfig, RankerConfig, TowerConfig
from recap_exp.tasks import Rates

GOLDEN = Path(__file__).parent / "golden"
EMBEDDINGS = ("user_embedding", "user_eng_embedding", "author_embedding")

RATES = {
    "is_favorited": Rates(positive=0.8387, negative=0.01),
    "is_good_clicked_convo_desc_favorited_or_replied": Rates(positive=0.9164, negative=0.00195),
    "is_good_clicked_convo_desc_v2": Rates(negative=0.00174),
    "is_negative_feedback_v2": Rates(negative=0.00280),
    "is_profile_clicked_and_profile_engaged": Rates(negative=0.0015),
    "is_replied": Rates(negative=0.005),
    "is_replied_reply_engaged_by_author": Rates(negative=0.001),
    "is_report_tweet_clicked": Rates(negative=0.000014),
    "is_retweeted": Rates(positive=0.9561, negative=0.004),
    "is_video_playback_50": Rates(negative=0.00427),
}
TASKS = tuple(RATES)
"""In the order of the golden models."""


def _masknet(parallel: bool = True, mlp: bool = True, **block: Any) -> MaskNetConfig:
    blocks = [MaskBlockConfig(**({"output": 16, "aggregation": 16} | block)) for _ in range(4)]
    return MaskNetConfig(parallel=parallel, blocks=blocks, mlp=MLPConfig(layers=[32], final_activation=True) if mlp else None)


def _model(backbone: MaskNetConfig | MLPConfig | None = None, sharing: Any = "share_all", **tower: Any) -> RankerConfig:
    tower = {"layers": [16, 8, 1]} | tower
    return RankerConfig(name="golden", sharing=sharing, backbone=backbone or _masknet(), tower=TowerConfig(**tower))


CONFIGS = {
    "share_all": _model(),
    "share_all_nonfinite": _model(),
    "share_none": _model(sharing="share_none"),
    "share_partial": _model(sharing="share_partial"),
    "serial_nomlp": _model(_masknet(parallel=False, mlp=False)),
    "parallel_nomlp": _model(_masknet(mlp=False)),
    "reduction_factor": _model(_masknet(aggregation=None, reduction_factor=26.5 / 72)),  # 26 rows
    "input_layer_norm": _model(_masknet(input_layer_norm=True)),
    "affine_map": _model(affine_map=True),
    "pos_weight": _model(),
    "mlp_backbone": _model(MLPConfig(layers=[24, 16], batch_norm=BatchNormConfig(affine=True, momentum=0.05), final_activation=True)),
    "no_tower_bn": _model(batch_norm=None),
}
"""Our configuration of each variant."""

POS_WEIGHT = torch.linspace(1.0, 5.5, len(TASKS))
"""Of the variant pos_weight: solved for from its losses."""


def golden_schema() -> Schema:
    """37 continuous and 11 binary features, three embeddings of 8."""

    def block(kind: Any, width: int) -> Block:
        return Block(kind=kind, columns=("column",), width=width, use=width)

    embeddings = {name: block("embedding", 8) for name in EMBEDDINGS}
    return Schema(blocks={"continuous": block("continuous", 37), "binary": block("binary", 11), **embeddings})


@dataclass(frozen=True)
class GoldenModel:
    """One variant: its arrays, and what our counterpart is built from."""

    variant: str
    arrays: dict[str, np.ndarray]

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def under(self, folder: str) -> dict[str, np.ndarray]:
        """The arrays `folder/NAME`, by NAME."""
        return {key[len(folder) + 1 :]: array for key, array in self.arrays.items() if key.startswith(f"{folder}/")}

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Every entry of the original's state before training."""
        return self.under("state")

    @property
    def grads(self) -> dict[str, np.ndarray]:
        """Gradients of train/loss."""
        return self.under("grad")

    @property
    def config(self) -> RankerConfig:
        """Our configuration of this variant."""
        return CONFIGS[self.variant]

    @property
    def schema(self) -> Schema:
        """The features' schema."""
        return golden_schema()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ten tasks in their order."""
        return TASKS

    @property
    def pos_weight_T(self) -> torch.Tensor | None:
        """The variant's pos_weight per task, or None."""
        return POS_WEIGHT if self.variant == "pos_weight" else None

    def losses(self, mode: str) -> np.ndarray:
        """The loss of each task in mode `eval` or `train`, [T]."""
        return np.array([self[f"{mode}/loss/recap.engagement.{task}"] for task in TASKS])

    def batch(self) -> Batch:
        """The 64 rows."""
        given = {key: torch.from_numpy(array) for key, array in self.under("in").items()}
        return Batch(
            continuous_BC=given["continuous_features"],
            binary_BI=given["binary_features"].float(),
            discrete_BJ=torch.zeros(64, 0, dtype=torch.int64),
            embeddings={name: given[name] for name in EMBEDDINGS},
            labels_BT=given["labels"].float(),
            weights_BT=given["weights"],
        )


@cache
def golden_model(variant: str) -> GoldenModel:
    """The variant's arrays: a file holds only what differs from share_all."""
    arrays = _load("model_share_all")
    if variant != "share_all":
        own = _load(f"model_{variant}")
        lacking = set(own.pop("without"))
        arrays = {key: array for key, array in arrays.items() if key not in lacking} | own
    return GoldenModel(variant, {key: array for key, array in arrays.items() if key != "without"})


@cache
def golden_adam(case: str) -> dict[str, np.ndarray]:
    """Three optimiser steps from golden_model("share_all"): case `adam` or `adamfast`."""
    return {key[len(case) + 1 :]: array for key, array in _load("adam_share_all").items() if key.startswith(f"{case}/")}


def after_three_steps(adam: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The state after the third step, by the original's names."""
    return {key[len("after3/") :]: array for key, array in adam.items() if key.startswith("after3/")}


def _load(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return dict(arrays)
