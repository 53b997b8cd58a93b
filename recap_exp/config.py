"""The root configuration: gathers the rooms' dataclasses and checks what no room can check alone. Free of torch."""

from __future__ import annotations

from recap_exp.configclass import configclass
from recap_exp.data.config import DataConfig
from recap_exp.evaluation.config import EvaluationConfig
from recap_exp.model.config import ModelConfig
from recap_exp.scoring.config import ScoringConfig
from recap_exp.tasks import Task
from recap_exp.tracking.config import TrackingConfig
from recap_exp.training.config import OptimizerConfig, TrainerConfig


@configclass
class ExperimentConfig:
    """One run of `recap-exp train`."""

    name: str
    """The recipe's name: the MLflow experiment, unless tracking.experiment says otherwise."""
    seed: int
    tasks: dict[str, Task]
    data: DataConfig
    model: ModelConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    evaluation: EvaluationConfig
    scoring: ScoringConfig
    tracking: TrackingConfig
