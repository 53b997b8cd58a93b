"""Configuration of the scoring room. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass


@configclass
class Engagement:
    """One term of the score: weight x probability of a task."""

    weight: float
    task: str | None = None
    """Task of the run; null: the weight's own name."""


@configclass
class GroupsConfig:
    """Which group a candidate is in, for the comparison of two groups."""

    by: Literal["extra", "label", "none"] = "none"
    name: str | None = None
    """The extra's or the task's name."""
    values: list[str | int | float | bool] | None = None
    """The two values to compare; null: the two there are."""


@configclass
class ScoringConfig:
    """From probabilities to one score a candidate, and what is reported of it."""

    name: str
    engagements: dict[str, Engagement]
    """By the weight's own name."""
    weights: Literal["given", "equal_share"] = "given"
    """given: as above; equal_share: sizes set so that every engagement contributes equally on this data, signs as above."""
    unmatched: Literal["error", "list"] = "error"
    """An engagement whose task the run lacks: an error, or listed in the report and left out."""
    positive_mapping: bool = True
    """The serving side's map of the sum to a positive number."""
    epsilon: float = 0.001
    probabilities: Literal["raw", "calibrated"] = "raw"
    partitions: list[str] = field(default_factory=lambda: ["test"])
    """Partitions of the evaluation that are scored."""
    groups: GroupsConfig = field(default_factory=GroupsConfig)
    show: int = 10
    """Candidates whose formula line is printed."""
    compare: list[str] = field(default_factory=list)
    """Other scorings (names in conf/scoring) whose ranking is compared with this one."""
