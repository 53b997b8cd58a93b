"""Configuration of the scoring room. Free of torch."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass


@configclass
class Engagement:
    """One term of the score: weight x probability of a task."""

    weight: float
    """Its sign says whether the engagement speaks for the item (+) or against it (-)."""
    task: str | None = None
    """Task of the run; null: the weight's own name."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be a finite number, not {self.weight}")


@configclass
class GroupsConfig:
    """Which group a candidate is in, for the comparison of two groups."""

    by: Literal["extra", "label", "none"] = "none"
    """extra: a column carried along with each row; label: a task's label; none: no comparison."""
    name: str | None = None
    """The extra's or the task's name."""
    values: list[str | int | float | bool] | None = None
    """The two values to compare, as first - second; null: the two there are (numbers: the larger first, text: in alphabetical order)."""
    labels_only: bool = False
    """True where the groups are known to differ in nothing but labels, which a ranker never reads (the fork's halves): changes
    what a difference means, not how it is tested."""

    def __post_init__(self) -> None:
        if self.by != "none" and not self.name:
            what = "column" if self.by == "extra" else "task"
            raise ValueError(f"name must be given where by is '{self.by}': the {what} that says the group")
        if self.values is not None and (len(self.values) != 2 or self.values[0] == self.values[1]):
            raise ValueError(f"values must be two different values, or null, not {self.values}")


@configclass
class ScoringConfig:
    """From probabilities to one score a candidate, and what is reported of it."""

    name: str
    engagements: dict[str, Engagement]
    """By the weight's own name."""
    weights: Literal["given", "equal_share"] = "given"
    """given: as above; equal_share: sizes set so that every engagement contributes equally on this data, signs as above."""
    unmatched: Literal["error", "list"] = "error"
    """An engagement whose task the run lacks, or a task without an engagement: an error, or listed in the report and left out."""
    positive_mapping: bool = True
    """The serving side's map of the sum to a positive number."""
    epsilon: float = 0.001
    """The mapping's size: what a sum of 0 becomes."""
    probabilities: Literal["raw", "calibrated"] = "raw"
    """raw: as the model gives them (the original's choice); calibrated: corrected for the partition's downsampling."""
    partitions: list[str] = field(default_factory=lambda: ["test"])
    """Partitions of the evaluation that are scored."""
    groups: GroupsConfig = field(default_factory=GroupsConfig)
    show: int = 10
    """Candidates whose formula line is printed."""
    compare: list[str] = field(default_factory=list)
    """Other scorings (names in conf/scoring) whose ranking is compared with this one."""

    def __post_init__(self) -> None:
        if not self.engagements:
            raise ValueError("engagements must name at least one engagement and its weight")
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise ValueError(f"epsilon must be > 0, not {self.epsilon}")
        if self.show < 0:
            raise ValueError(f"show must be at least 0, not {self.show}")
        if not self.partitions:
            raise ValueError("partitions must name at least one partition of the evaluation")
        if len(set(self.partitions)) < len(self.partitions):
            raise ValueError(f"partitions must be named once each, not {self.partitions}")
        if self.name in self.compare:
            raise ValueError(f"compare must name other scorings than '{self.name}' itself")

    def stage(self, partition: str) -> str:
        """First word of metrics and artifacts: `score` where one partition is scored, else `score_PARTITION`."""
        return "score" if len(self.partitions) == 1 else f"score_{partition}"
