"""How far training is, for whoever watches: a bar in a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

LINE_EVERY = 15.0
"""Seconds between lines where there is no terminal."""


class Progress:
    """Shows step, loss, rows per second and the time that is left. A context manager; `show` is cheap enough for every log point."""

    def __init__(self, first: int, steps: int, enabled: bool = True) -> None:
        """first: the step that training starts from, of `steps`."""
        self._first, self._steps, self._enabled = first, steps, enabled
        self._began = self._line = time.monotonic()
        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[pace]} examples/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            refresh_per_second=4,
            disable=not (enabled and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("", total=steps, completed=first, loss="-", pace="-")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """After each update."""
        self._bar.update(self._task, completed=step)

    def show(self, step: int, loss: float, pace: float) -> None:
        """At a log point: mean loss and rows per second since the last one."""
        self._bar.update(self._task, completed=step, loss=f"{loss:.4f}", pace=f"{pace:,.0f}")
        if not self._enabled or not self._bar.disable:
            return
        now = time.monotonic()
        if now - self._line >= LINE_EVERY or step == self._steps:
            self._line = now
            left = (now - self._began) / (step - self._first) * (self._steps - step)
            print(
                f"step {step}/{self._steps}  loss {loss:.4f}  {pace:,.0f} examples/s  {timedelta(seconds=round(left))} left",
                file=sys.stderr,
                flush=True,
            )
