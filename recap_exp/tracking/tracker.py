"""What every stage tells about itself, whoever listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Status = Literal["FINISHED", "FAILED", "KILLED", "PRUNED"]
"""PRUNED: ended early, because others do better."""


@dataclass(frozen=True, kw_only=True)
class SweepView:
    """By what a sweep's jobs are told apart and judged in MLflow's interface. Jobs carry the tag recap.sweep, the sweep's id."""

    varied: Sequence[str]
    """Params that vary."""
    objectives: Mapping[str, Literal["maximize", "minimize"]]
    """Metrics; the jobs are sorted by the first, the best on top."""


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a run is called, and where it lives."""

    id: str
    """The run's own id, there before and without any store."""
    folder: Path
    """outputs/runs/<id>: journal, artifacts and whatever else the run writes."""
    experiment: str
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    notes: str = ""
    parent: str | None = None
    """Our id of the run that this one belongs to: a sweep, or the run that was scored."""
    sweep: SweepView | None = None
    """How the jobs of this run are shown, where it is a sweep."""


class Tracker(Protocol):
    """Records one run. No call waits for a store; none raises because a store failed."""

    def params(self, values: dict[str, Any]) -> None:
        """Short named values, by which runs are told apart."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Numbers by name `stage/metric[/task]`, at a training step or for the run as a whole. Non-finite ones are kept as they are."""

    def tags(self, values: dict[str, str]) -> None:
        """Free text by name."""

    def figure(self, figure: Figure, path: str) -> None:
        """A picture, as an artifact at `path` (.png)."""

    def table(self, columns: dict[str, list[Any]], path: str) -> None:
        """A table, as an artifact at `path` (.csv or .json), column by column."""

    def text(self, text: str, path: str) -> None:
        """A text file as an artifact at `path`."""

    def artifact(self, file: Path, folder: str = "") -> None:
        """A file or folder that exists, under `folder` of the run's artifacts; a folder's content lands in `folder` itself.
        Linked, not copied, where the store is on this disk: replace such a file, don't write into it."""

    def dataset(self, name: str, digest: str, context: str, source: str, schema: dict[str, Any], profile: dict[str, Any]) -> None:
        """The data of one split (`context`: train, val, ...) with its digest. `schema`: column or block -> type."""

    def mlflow_run_id(self, timeout: float | None = 0.0) -> str | None:
        """MLflow's id of the run, waiting at most `timeout` seconds for it (None: as long as it takes); None where there is none yet."""

    @property
    def url(self) -> str | None:
        """Where the run is seen in MLflow's UI; None while it is in no store."""

    @property
    def compare_url(self) -> str | None:
        """Where the experiment's runs, or a sweep's jobs, stand with what tells them apart; None while the run is in no store."""

    def finish(self, status: Status = "FINISHED", wait: bool = True) -> bool:
        """Close the run and wait until its records are in the store; wait=False: they get there meanwhile (delivery.drain waits for all).
        False: not all are there, and `recap-exp send` will bring them."""
