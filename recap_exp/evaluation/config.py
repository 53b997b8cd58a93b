"""Configuration of the evaluation room. Free of torch."""

from __future__ import annotations

import re
from dataclasses import field

from recap_exp.configclass import configclass
from recap_exp.tasks import Rates

METRICS = ("auroc", "average_precision", "rce", "nrce", "loss", "calibration", "ctr", "pctr", "precision", "recall", "positives")
"""What is measured of each task: the middle word of PARTITION/METRIC/TASK."""
CALIBRATED = tuple(f"{name}_calibrated" for name in ("rce", "nrce", "pctr", "calibration", "precision", "recall"))
"""Also there where the partition was downsampled."""
AGAINST_TRUTH = ("auroc_of_truth", "auroc_ratio", "rce_of_truth", "truth_mae", "truth_rmse", "truth_calibration")
"""Also there where the true probabilities are known."""
BETTER = {
    **dict.fromkeys(("auroc", "average_precision", "rce", "nrce", "precision", "recall", "auroc_ratio", "examples_per_s"), True),
    **dict.fromkeys(("mrr", "hits_at", "sampled_auc", "sampled_hit_at"), True),
    **dict.fromkeys(("loss", "truth_mae", "truth_rmse", "train_seconds", "mean_rank"), False),
}
"""Whether more of a metric is better, by its name's second word. Others have no better end: 1 is best of a calibration, and a rate tells
of the data."""


def higher_is_better(metric: str) -> bool | None:
    """Whether more of `PARTITION/METRIC[/TASK]` is better; None where neither more nor less is."""
    name = "/".join(metric.split("/")[1:2])
    return BETTER.get(re.sub(r"_(calibrated|left|right|\d+)(?=_|$)", "", name))


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

    def __post_init__(self) -> None:
        if self.steps == 0:
            raise ValueError("steps must be at least 1, or below 0 for every row once, not 0")
        if self.tasks is not None and (not self.tasks or len(set(self.tasks)) < len(self.tasks)):
            raise ValueError(f"tasks must name at least one task, and none twice, or be null for all, not {self.tasks}")


@configclass
class EvaluationConfig:
    """Which partitions, which strata."""

    batch_size: int = 4096
    partitions: dict[str, PartitionConfig]
    pictures: list[str] = field(default_factory=list)
    """Partitions that are drawn: ROC, precision and recall, reliability, distributions; about a second each with ten tasks."""
    strata: list[str] = field(default_factory=list)
    """Extras, ids, or BLOCK.INDEX of a discrete block, by whose value metrics are reported too."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if not self.partitions:
            raise ValueError("partitions must name at least one partition")
        for name in self.partitions:
            if not name or "/" in name:
                raise ValueError(f"partitions: '{name}' can't be a name: it is the first word of metric names, and has no /")
        for name in self.pictures:
            if name not in self.partitions:
                raise ValueError(f"pictures names '{name}', which is no partition: {', '.join(self.partitions)}")
        if len(set(self.strata)) < len(self.strata):
            raise ValueError(f"strata must name no column twice, not {self.strata}")
