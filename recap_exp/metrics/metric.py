"""The contract of accumulators: update / compute / reset, mergeable across processes. Everything inside is double precision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np


class OneClassWarning(UserWarning):
    """A metric that compares two classes has seen only one (or nothing), and is NaN."""


class Metric(ABC):
    """Sees examples in any number of calls of `update`, and answers `compute` for all of them together."""

    STATE: ClassVar[tuple[str, ...]] = ()
    """Attributes that hold what was seen: numbers, arrays, or metrics."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything seen."""

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """Take in what `other` has seen, as if its examples had come after one's own; returns self."""

    @abstractmethod
    def compute(self) -> float:
        """The metric over everything seen; NaN where it is undefined."""

    def state_dict(self) -> dict[str, Any]:
        """Everything seen, as a flat dict of numbers and arrays that another process can load."""
        state: dict[str, Any] = {}
        for name in self.STATE:
            value = getattr(self, name)
            if isinstance(value, Metric):
                state |= {f"{name}.{inner}": v for inner, v in value.state_dict().items()}
            else:
                state[name] = value
        return state

    def load_state_dict(self, state: dict[str, Any]) -> Self:
        """Inverse of `state_dict`; returns self."""
        for name in self.STATE:
            value = getattr(self, name)
            if isinstance(value, Metric):
                value.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
            else:
                setattr(self, name, state[name])
        return self


def vector(values: Any, name: str, like: np.ndarray | None = None) -> np.ndarray:
    """`values` (numpy, torch, list, number) as a finite array [N] of its own type; a number is repeated to the length of `like`.

    Raises ValueError for another shape, another length than `like`, or a value that is NaN or infinite.
    """
    if hasattr(values, "detach"):  # a torch tensor, perhaps on a device, perhaps bfloat16, which numpy lacks
        values = values.detach().cpu()
        values = values.float().numpy() if str(values.dtype) == "torch.bfloat16" else values.numpy()
    array = np.asarray(values)
    if like is not None and array.ndim == 0:
        array = np.full(len(like), array)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {array.shape}")
    if like is not None and len(array) != len(like):
        raise ValueError(f"{name} has {len(array)} values, expected {len(like)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{bad}] is {array[bad]}; values must be finite")
    return array


def weight_vector(weights: Any, like: np.ndarray) -> np.ndarray | None:
    """Weights [N] in double precision, None where all are 1. Raises ValueError for a negative one."""
    if weights is None:
        return None
    array = vector(weights, "weights", like).astype(np.float64)
    if (array < 0).any():
        raise ValueError(f"weights must be >= 0, not {array.min()}")
    return array


def label_vector(labels: Any, like: np.ndarray) -> np.ndarray:
    """Labels [N] in double precision. Raises ValueError for one outside [0, 1]."""
    array = vector(labels, "labels", like).astype(np.float64)
    if len(array) and not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(f"labels must be in [0, 1], not {array.min() if array.min() < 0 else array.max()}")
    return array
