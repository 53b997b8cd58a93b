"""What happened since the last log point: losses, rows, time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from recap_exp.errors import RecapError
from recap_exp.model.ranker import BACKBONE


class Losses:
    """Losses of the updates since the last log point, left on their device until they are read: a step waits for nobody.

    A row is [loss, the tasks' losses], [1 + T] float32.
    """

    def __init__(self, tasks: Sequence[str], stored: Sequence[Sequence[float]] = ()) -> None:
        self.tasks = list(tasks)
        self.rows = [torch.tensor(row) for row in stored]

    def add(self, row: Tensor) -> None:
        """The losses of one more update."""
        self.rows.append(row)

    def read(self) -> list[list[float]]:
        """All rows, exactly."""
        return [row.tolist() for row in self.rows]

    def take(self) -> dict[str, float]:
        """`train/loss` and `train/loss/TASK`, means since the last log point; the next window starts here."""
        rows, self.rows = self.read(), []
        names = ["train/loss", *(f"train/loss/{task}" for task in self.tasks)]
        return {name: math.fsum(column) / len(rows) for name, column in zip(names, zip(*rows, strict=True), strict=True)}

    def require_finite(self, step: int, lrs: Callable[[int], dict[str, float]]) -> None:
        """Raises RecapError for the first row that is not finite. The last row is of update `step`; lrs: rates after n updates."""
        rows = self.read()
        for at, (loss, *by_task) in enumerate(rows, step - len(rows) + 1):
            wrong = {task: value for task, value in zip(self.tasks, by_task, strict=True) if not math.isfinite(value)}
            if wrong or not math.isfinite(loss):
                every = lrs(at - 1)
                rates = {name: lr for name, lr in every.items() if name == BACKBONE or name in wrong} or every
                raise RecapError(
                    f"step {at}: the loss of {_listed(wrong or {'all together': loss})} is not finite; the update was not made. "
                    f"Learning rates: {_listed(rates)}. Lower them, or look for extreme values in the data"
                )


class Pace:
    """Rows per second of training, pauses for evaluation and checkpoints left out."""

    def __init__(self) -> None:
        self._rows, self._began = 0, time.perf_counter()

    def add(self, rows: int) -> None:
        """Rows of one more update."""
        self._rows += rows

    def take(self) -> float:
        """Rows per second since the last log point; the next window starts here."""
        now = time.perf_counter()
        pace = self._rows / max(now - self._began, 1e-9)
        self._rows, self._began = 0, now
        return pace

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that does not count."""
        began = time.perf_counter()
        yield
        self._began += time.perf_counter() - began


def _listed(values: dict[str, float], most: int = 3) -> str:
    """Names and values; where they are many, the first and how many more."""
    said = [f"{name} {value:.6g}" for name, value in values.items()]
    return ", ".join(said) if len(said) <= most else f"{', '.join(said[:most])} and {len(said) - most} more"
