"""Configuration of link evaluation. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass


@configclass
class LinkPartitionConfig:
    """A named part of the edges that metrics are reported on: its name is the metrics' first word (val/mrr)."""

    split: str
    """Split of the graph."""
    edges: int | None = None
    """Only so many, a fixed sample of the split, the same for every run, and then with 95 % intervals; null: all."""
    during_training: bool = False
    """Evaluated every trainer.evaluate_every steps too, not only at the end."""

    def __post_init__(self) -> None:
        if self.edges is not None and self.edges < 1:
            raise ValueError(f"edges must be at least 1, not {self.edges}")


@configclass
class LinkEvaluationConfig:
    """Ranking of each edge's true ends among all entities."""

    partitions: dict[str, LinkPartitionConfig]
    candidates: Literal["type", "all"] = "type"
    """type: entities of the relation's own type on that side; all: entities of every type (a graph of one type knows no difference)."""
    filtered: bool = True
    """Candidates that make another true edge, of any split, don't count."""
    sides: Literal["both", "right", "left"] = "both"
    """Which end is ranked: right ends, left ends, or both, each with half the weight."""
    hits: list[int] = field(default_factory=lambda: [1, 3, 10])
    sampled_pairs: int | None = 128
    """Of the original's sampled measures, per batch: negatives that it shares, and pairs of a true edge and a negative one that are drawn.
    Null: without these measures."""
    batch_size: int = 512
    """Edges ranked at a time."""
    pictures: bool = True
    """Map of each table; degree against rank."""

    def __post_init__(self) -> None:
        if not self.partitions:
            raise ValueError("partitions must name at least one partition")
        for name in self.partitions:
            if not name or "/" in name:
                raise ValueError(f"partitions: '{name}' can't be a name: it is the first word of metric names, and has no /")
        if not self.hits or min(self.hits) < 1 or len(set(self.hits)) < len(self.hits):
            raise ValueError(f"hits must be different numbers of at least 1, not {self.hits}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.sampled_pairs is not None and self.sampled_pairs < 1:
            raise ValueError(f"sampled_pairs must be at least 1, not {self.sampled_pairs}")

    @property
    def metrics(self) -> list[str]:
        """What is measured: the second words of PARTITION/METRIC. mrr is also there by relation, PARTITION/mrr/RELATION."""
        measures = ["mrr", *(f"hits_at_{k}" for k in self.hits), "mean_rank"]
        sides = ("left", "right") if self.sides == "both" else (self.sides,)
        sampled = ["sampled_auc", *(f"sampled_hit_at_{k}" for k in self.hits)] if self.sampled_pairs is not None else []
        return [*measures, *(f"{name}_{side}" for name in measures for side in sides), *sampled]
