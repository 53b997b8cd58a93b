"""Configuration of the evaluation room. Free of torch."""

from __future__ import annotations

from dataclasses import field

from recap_exp.configclass import configclass
from recap_exp.tasks import Rates


@configclass
class PartitionConfig:
    """A named part of the data that metrics are reported on: its name is the metrics' first word (val/auroc/...)."""

    split: str
    """Split of the data set."""
    rates: dict[str, Rates] = field(default_factory=dict)
    """Per task, how this partition was downsampled: calibrates the probabilities. Tasks not named: 1."""
    tasks: list[str] | None = None
    """Only these tasks are reported; null: all."""
    steps: int = -1
    """Batches; < 0: every row once."""
    during_training: bool = False
    """Evaluated every trainer.evaluate_every steps too, not only at the end."""


@configclass
class EvaluationConfig:
    """Which partitions, which strata."""

    batch_size: int = 4096
    partitions: dict[str, PartitionConfig]
    strata: list[str] = field(default_factory=list)
    """Extras or discrete columns by whose value metrics are reported too."""
