"""Configuration of the sweep room: which runs `-m` makes, and in what order. Free of optuna and torch."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from recap_exp.configclass import configclass


@configclass
class _Common:
    """What every kind of sweep has."""

    space: dict[str, str] = field(default_factory=dict)
    """Key or group -> values, in Hydra's own grammar: `masknet_serial,mlp`, `range(1,5)`, `choice(64,128)`, `interval(0.1,0.5)`,
    `tag(log,interval(1e-4,1e-2))`. KEY=VALUES on the command line adds to it, or takes its place."""
    maximize: list[str] = field(default_factory=list)
    """Metrics whose highest value is the best."""
    minimize: list[str] = field(default_factory=list)
    """Metrics whose lowest value is the best. With both empty it is the command's `metric`, in the direction that it has by its name."""
    resume: str | None = None
    """Id of a sweep, or `latest`: jobs that finished are not run again, others go on from their checkpoints in their own records."""
    job: str | None = None
    """Filled in by the sweep for each of its jobs: SWEEP_ID/NUMBER."""

    def __post_init__(self) -> None:
        named = [*self.maximize, *self.minimize]
        if len(set(named)) < len(named):
            raise ValueError(f"maximize and minimize must name no metric twice, not {', '.join(named)}")


@configclass
class GridConfig(_Common):
    """Every combination of the values."""

    kind: Literal["grid"] = "grid"


@configclass
class PrunerConfig:
    """Ends a trial whose objective, at an evaluation, is behind what the other trials had at the same step."""

    kind: Literal["median", "successive_halving", "hyperband"] = "median"
    """median: behind the median of the others. The other two keep the best third at each of a ladder of steps."""
    startup_trials: int = 5
    """median: trials that end by themselves before any is pruned."""
    warmup_steps: int = 0
    """median: steps of a trial before which it is not pruned."""

    def __post_init__(self) -> None:
        for key in ("startup_trials", "warmup_steps"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be at least 0, not {getattr(self, key)}")


@configclass
class SearchConfig(_Common):
    """Trials that Optuna draws, in a study that lies in the sweep's folder (study.db, SQLite)."""

    kind: Literal["search"] = "search"
    sampler: Literal["random", "tpe", "nsga2"] = "tpe"
    """random: independent draws. tpe: tree-structured Parzen estimator (Bergstra et al. 2011), for one or several objectives.
    nsga2: a genetic algorithm for several objectives (Deb et al. 2002)."""
    trials: int
    """All trials of the study, those before a resume among them."""
    at_once: int | None = None
    """Trials that are drawn together, before any of them has ended; null: as many as the launcher runs at once."""
    seed: int = 0
    """Of the sampler."""
    pruner: PrunerConfig | None = None
    """Needs a single objective, from a partition that is evaluated during training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("trials", "at_once"):
            if (value := getattr(self, key)) is not None and value < 1:
                raise ValueError(f"{key} must be at least 1, not {value}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")
        if self.pruner and len(self.maximize) + len(self.minimize) > 1:
            raise ValueError("pruner must be null where there are several objectives: by which of them should a trial be judged?")


SweepConfig = Annotated[GridConfig | SearchConfig, Field(discriminator="kind")]
