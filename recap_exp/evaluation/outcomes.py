"""Predictions and what came of them, gathered chunk by chunk into as few bytes as exact metrics allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from recap_exp.errors import ConfigError, DataError, RecapError, nearest
from recap_exp.evaluation.config import PartitionConfig
from recap_exp.metrics.cross_entropy import CrossEntropy
from recap_exp.model.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """One task's N rows."""

    probs_N: np.ndarray
    """float32, as the model gives them."""
    labels_N: np.ndarray
    """bool."""
    weights_N: np.ndarray | None = None
    """float32; None where all are 1."""
    calibrated_N: np.ndarray | None = None
    """float32; None where the partition was not downsampled for this task."""
    truths_N: np.ndarray | None = None
    """float32 true probabilities; None where there are none."""

    def take(self, rows_N: np.ndarray) -> Outcomes:
        """The chosen rows."""
        taken: dict[str, Any] = {name: None if a is None else a[rows_N] for name, a in vars(self).items()}
        return Outcomes(**taken)

    @classmethod
    def concatenate(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """All parts one after the other; they must have the same optional columns."""
        arrays = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
        joined: dict[str, Any] = {name: None if a[0] is None else np.concatenate(a) for name, a in arrays.items()}
        return cls(**joined)


class Stratum:
    """The value of one extra for every row, as codes."""

    def __init__(self) -> None:
        self.codes: dict[Any, int] = {}
        self.parts: list[np.ndarray] = []

    def update(self, column_N: np.ndarray) -> None:
        """The next rows."""
        values, place_N = np.unique(column_N.astype(str) if column_N.dtype == object else column_N, return_inverse=True)
        codes = [self.codes.setdefault(value, len(self.codes)) for value in values.tolist()]
        self.parts.append(np.asarray(codes, np.int32)[place_N])

    def merge(self, other: Stratum) -> None:
        """The rows of `other` after one's own."""
        codes = np.asarray([self.codes.setdefault(value, len(self.codes)) for value in other.codes], np.int32)
        self.parts += [codes[part] for part in other.parts]

    def rows(self) -> list[tuple[Any, np.ndarray]]:
        """Each value with the numbers of its rows, the most frequent value first."""
        codes_N = np.concatenate(self.parts) if self.parts else np.empty(0, np.int32)
        groups = [(value, np.flatnonzero(codes_N == code)) for value, code in self.codes.items()]
        return sorted(groups, key=lambda group: (-len(group[1]), str(group[0])))


class Collector:
    """Takes in chunks of predictions, keeps what metrics need: per example and task 5 bytes (probability, label), and 4 more each for
    a weight, a calibrated probability and a true probability where they exist; per example 4 for each stratum."""

    def __init__(self, partition: str, cfg: PartitionConfig, strata: Sequence[str] = ()) -> None:
        self.partition, self.cfg = partition, cfg
        self.examples = 0
        self.tasks: tuple[str, ...] = ()
        self.losses: dict[str, CrossEntropy] = {}
        self.parts: dict[str, list[Outcomes]] = {}
        self.strata = {name: Stratum() for name in strata}

    def update(self, chunk: Predictions) -> Self:
        """The next rows. Raises RecapError where labels, a task or a stratum is missing, or a prediction is not finite."""
        if chunk.labels_NT is None:
            raise DataError(f"partition {self.partition} has no labels, and metrics need them: evaluate another split")
        if not self.tasks:
            self._begin(chunk)
        for task in self.tasks:
            self._update_task(task, chunk, chunk.tasks.index(task))
        for name, stratum in self.strata.items():
            if name not in chunk.extras:
                known = f"it has {', '.join(chunk.extras)}" if chunk.extras else "it has none"
                raise ConfigError(f"evaluation.strata: '{name}' is no extra of the data; {known}{nearest(name, chunk.extras)}")
            stratum.update(chunk.extras[name])
        self.examples += len(chunk)
        return self

    def merge(self, other: Self) -> Self:
        """What another process saw, after one's own rows."""
        self.tasks = self.tasks or other.tasks
        for task in other.tasks:
            self.parts.setdefault(task, []).extend(other.parts[task])
            self.losses.setdefault(task, CrossEntropy(from_logits=True)).merge(other.losses[task])
        for name, stratum in other.strata.items():
            self.strata[name].merge(stratum)
        self.examples += other.examples
        return self

    def outcomes(self, task: str) -> Outcomes:
        """All rows of one task."""
        self.parts[task] = [Outcomes.concatenate(self.parts[task])]  # one copy only
        return self.parts[task][0]

    def _begin(self, chunk: Predictions) -> None:
        for task in [*(self.cfg.tasks or ()), *self.cfg.rates]:
            if task not in chunk.tasks:
                raise ConfigError(
                    f"evaluation.partitions.{self.partition}: unknown task '{task}'{nearest(task, chunk.tasks)}; "
                    f"the run has {', '.join(chunk.tasks)}"
                )
        self.tasks = tuple(task for task in chunk.tasks if self.cfg.tasks is None or task in self.cfg.tasks)
        self.parts = {task: [] for task in self.tasks}
        self.losses = {task: CrossEntropy(from_logits=True) for task in self.tasks}

    def _update_task(self, task: str, chunk: Predictions, t: int) -> None:
        assert chunk.labels_NT is not None
        if bad := int((~np.isfinite(chunk.logits_NT[:, t])).sum()):
            raise RecapError(f"partition {self.partition}: {bad} of {len(chunk)} logits of {task} are not finite; the model has diverged")

        def column(array_NT: np.ndarray | None, dtype: type = np.float32) -> np.ndarray | None:
            return None if array_NT is None else np.array(array_NT[:, t], dtype)

        rates = self.cfg.rates.get(task)
        downsampled = rates is not None and rates.positive != rates.negative
        truths_N = column(chunk.truths_NT)
        weights_N = column(chunk.weights_NT)
        self.losses[task].update(chunk.logits_NT[:, t], chunk.labels_NT[:, t], weights_N)
        self.parts[task].append(
            Outcomes(
                probs_N=np.array(chunk.probs_NT[:, t], np.float32),
                labels_N=chunk.labels_NT[:, t] > 0.5,
                weights_N=weights_N,
                calibrated_N=column(chunk.calibrated_NT) if downsampled else None,
                truths_N=None if truths_N is None or np.isnan(truths_N).any() else truths_N,
            )
        )
