"""What each command does with its configuration; the same from the command line and from Python."""

from __future__ import annotations

from typing import Any

from recap_exp.config import CommandConfig, DataCommandConfig, ScoreConfig, TrainConfig


def run(cfg: CommandConfig) -> Any:
    """Does what `cfg` was composed for: train gives a Result, score its reports, data the Dataset. Imports what that needs."""
    if isinstance(cfg, TrainConfig):
        from recap_exp.train_command import train_and_record

        return train_and_record(cfg)
    if isinstance(cfg, ScoreConfig):
        from recap_exp.rescore import rescore

        return rescore(cfg)
    if isinstance(cfg, DataCommandConfig):
        from recap_exp.make_data import make_data

        return make_data(cfg)
    raise TypeError(f"run takes a configuration that recap_exp.compose made, not {type(cfg).__name__}")
