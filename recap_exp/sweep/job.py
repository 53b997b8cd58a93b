"""One job of a sweep, as its own process sees it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from recap_exp.errors import RecapError
from recap_exp.paths import runs_dir
from recap_exp.sweep.config import PrunerConfig, SearchConfig, SweepConfig
from recap_exp.sweep.jobs import JobCard, Jobs
from recap_exp.whole import whole

SWEEP, STUDY = "sweep.json", "study.db"


class Pruned(RecapError):
    """A trial that its sweep gave up: no failure, and no result."""


@dataclass(frozen=True, kw_only=True)
class SweepCard:
    """What a sweep tells all of its jobs."""

    command: str
    arguments: list[str]
    """The overrides that it was called with."""
    varied: list[str]
    """Keys and groups that vary."""
    objectives: dict[str, Literal["maximize", "minimize"]]
    """What is best, by metric."""
    experiment: str
    """The MLflow experiment of the sweep and all of its jobs."""
    at_once: int
    """Jobs that share a machine's CPUs."""
    alone: bool
    """Jobs run one after the other, in the sweep's own process."""

    def write(self, sweep: Path) -> None:
        """Puts the card into the sweep's folder."""
        with whole(sweep / SWEEP) as draft:
            draft.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, sweep: Path) -> SweepCard:
        """The card of a sweep's folder."""
        return cls(**json.loads((sweep / SWEEP).read_text()))


@dataclass(frozen=True)
class SweepJob:
    """A job by its sweep's id and its number."""

    sweep: str
    number: int
    pruner: PrunerConfig | None = None

    @classmethod
    def of(cls, cfg: SweepConfig) -> SweepJob | None:
        """The job that a configuration belongs to; None for a run of its own."""
        if cfg.job is None:
            return None
        sweep, number = cfg.job.rsplit("/", 1)
        return cls(sweep, int(number), cfg.pruner if isinstance(cfg, SearchConfig) else None)

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return runs_dir() / self.sweep

    @cached_property
    def whole(self) -> SweepCard:
        """What the sweep tells."""
        return SweepCard.read(self.folder)

    @property
    def card(self) -> JobCard:
        """What is known of the job."""
        return Jobs(self.folder).read(self.number)

    @property
    def alone(self) -> bool:
        """No other job runs meanwhile: the terminal is this one's."""
        return self.whole.alone

    def note(self, **values: object) -> None:
        """Changes the card."""
        Jobs(self.folder).change(self.number, **values)

    def begins(self) -> None:
        """This process works on the job from now on."""
        place = {"host": socket.gethostname(), "pid": os.getpid()}
        if "SLURM_JOB_ID" in os.environ:
            place["slurm"] = os.environ["SLURM_JOB_ID"]
        self.note(status="RUNNING", place=place, error=None)

    def varied(self, overrides: Sequence[str]) -> dict[str, str]:
        """What makes this job differ from the others, as it was asked for: {key or group: value}."""
        given = dict(o.lstrip("+").split("=", 1) for o in overrides if "=" in o)
        return {key: given[key].strip("'\"") for key in self.whole.varied if key in given}

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tells the study how the trial does.

        Raises:
            Pruned: the trial is behind the others.
        """
        if self.pruner is None or (trial := self.card.trial) is None:
            return
        from recap_exp.sweep.study import Pruning

        objective = next(iter(self.whole.objectives))
        pruning = self.__dict__.setdefault("_pruning", Pruning(self.folder / STUDY, trial, self.pruner))
        if objective in metrics and pruning.is_behind(step, metrics[objective]):
            raise Pruned(f"pruned at step {step}: {objective} {metrics[objective]:.4g} is behind the other trials")
