"""Configuration of the optimisers of embedding tables and of what is beside them. Free of torch."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from recap_exp.configclass import configclass
from recap_exp.training.config import Schedule


@configclass
class TableOptimizerConfig:
    """How a table learns."""

    rule: Literal["sgd", "adagrad", "rowwise_adagrad", "adam"] = "adagrad"
    """All but adam run inside the backward pass, on the touched rows alone; adam visits every row at every step on the CPU."""
    schedule: Schedule
    eps: float = 1e-8
    """Of adagrad, rowwise_adagrad (the original's 0) and adam (the original's 1e-7)."""

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise ValueError(f"eps must be at least 0, not {self.eps}")


@configclass
class DenseOptimizerConfig:
    """How the operators learn."""

    rule: Literal["sgd", "adagrad", "adam"] = "adagrad"
    schedule: Schedule
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not self.eps >= 0:
            raise ValueError(f"eps must be at least 0, not {self.eps}")


@configclass
class SparseOptimizerConfig:
    """TwHIN's optimisers: one a table, one for the operators."""

    kind: Literal["sparse"]
    name: str
    table: TableOptimizerConfig
    """Every table's, but for ..."""
    tables: dict[str, TableOptimizerConfig] = field(default_factory=dict)
    """... those named here by their entity."""
    operators: DenseOptimizerConfig
