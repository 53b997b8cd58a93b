"""What every stage tells about itself, whoever listens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Tracker(Protocol):
    """Records one run. No call waits for a store; none raises because a store failed."""

    def params(self, values: dict[str, Any]) -> None:
        """Short named values, by which runs are told apart."""

    def metrics(self, values: dict[str, float], step: int | None = None) -> None:
        """Numbers by name `stage/metric[/task]`, at a training step or for the run as a whole. Non-finite ones are kept as NaN."""

    def tags(self, values: dict[str, str]) -> None:
        """Free text by name."""

    def figure(self, figure: Figure, path: str) -> None:
        """A picture, as an artifact at `path` (.png)."""

    def table(self, columns: dict[str, list[Any]], path: str) -> None:
        """A table, as an artifact at `path` (.csv or .json), column by column."""

    def text(self, text: str, path: str) -> None:
        """A text file as an artifact at `path`."""

    def artifact(self, file: Path, folder: str = "") -> None:
        """A file or folder that exists, under `folder` of the run's artifacts. Linked, not copied, where the store is on this disk."""

    def dataset(self, name: str, digest: str, context: str, source: str, schema: dict[str, Any], profile: dict[str, Any]) -> None:
        """The data of one split (`context`: train, val, ...) with its digest."""

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"] = "FINISHED") -> None:
        """Everything sent that can be sent; the run is closed."""
