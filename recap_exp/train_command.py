"""`recap-exp train`: which run it is, and of which of the two systems."""

from __future__ import annotations

from recap_exp.config import GraphExperimentConfig, TrainConfig
from recap_exp.record import Result
from recap_exp.resuming import on, taken_up
from recap_exp.runs import RunFolder
from recap_exp.sweep.job import SweepJob
from recap_exp.training import torchrun


def train_and_record(cfg: TrainConfig, rerun_of: RunFolder | None = None) -> Result:
    """Everything from data to a recorded run, a new one or one that goes on. A run that fails is recorded as failed, with what it has."""
    job = SweepJob.of(cfg.sweep)
    folder, cfg = taken_up(cfg, job)
    if torchrun.world_size() > 1:
        cfg = on(torchrun.world_size(), cfg)
    if isinstance(cfg, GraphExperimentConfig):
        from recap_exp import graph_experiment

        return graph_experiment.run(cfg, folder, job, rerun_of)
    from recap_exp import experiment

    return experiment.run(cfg, folder, job, rerun_of)
