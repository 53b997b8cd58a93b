"""What a ranker says of N rows, in memory as numpy: evaluation and scoring read nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(kw_only=True)
class Predictions:
    """N rows in the order of the data, T tasks in the order of the task list."""

    tasks: tuple[str, ...]
    logits_NT: np.ndarray
    """float32."""
    probs_NT: np.ndarray
    """float32, as the model gives them."""
    calibrated_NT: np.ndarray
    """float32, corrected for the partition's downsampling; equal to probs_NT where all rates are 1."""
    labels_NT: np.ndarray | None = None
    """float32 0/1; None where the data has no labels."""
    weights_NT: np.ndarray | None = None
    """float32 sampling weights; None where all are 1."""
    truths_NT: np.ndarray | None = None
    """float64 true probabilities; None where the data has none, NaN for a task without."""
    ids: dict[str, np.ndarray] = field(default_factory=dict)
    extras: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.logits_NT)

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """All parts one after the other; they must have the same tasks and the same optional columns."""

        def join(name: str) -> np.ndarray | None:
            arrays = [getattr(p, name) for p in parts]
            return None if arrays[0] is None else np.concatenate(arrays)

        def join_named(name: str) -> dict[str, np.ndarray]:
            return {k: np.concatenate([getattr(p, name)[k] for p in parts]) for k in getattr(parts[0], name)}

        arrays = {n: join(n) for n in ("logits_NT", "probs_NT", "calibrated_NT", "labels_NT", "weights_NT", "truths_NT")}
        return cls(tasks=parts[0].tasks, **arrays, ids=join_named("ids"), extras=join_named("extras"))  # type: ignore[arg-type]
