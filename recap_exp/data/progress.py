"""Progress of work that goes through many rows: silent when it is over within a second."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PATIENCE_S = 1.0


class RowProgress:
    """A bar on stderr that appears after a second and vanishes at the end."""

    def __init__(self, title: str, total: int | None, shown: bool = True) -> None:
        self.title, self.total, self.shown = title, total, shown
        self.rows = 0
        self.started = time.monotonic()
        self.bar: Progress | None = None

    def __enter__(self) -> RowProgress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar:
            self.bar.stop()

    def advance(self, rows: int) -> None:
        """So many more rows are done."""
        self.rows += rows
        seconds = time.monotonic() - self.started
        if self.shown and self.bar is None and seconds > PATIENCE_S:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
            )
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(self.title, total=self.total, rate="")
            self.bar.start()
        if self.bar:
            self.bar.update(self.task, completed=self.rows, rate=f"{self.rows / seconds:,.0f} rows/s")
