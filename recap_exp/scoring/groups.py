"""Which of two groups a candidate is in: by a column carried along with the row, or by a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from recap_exp.errors import ConfigError, DataError, nearest
from recap_exp.model.predictions import Predictions
from recap_exp.scoring.config import GroupsConfig


@dataclass(frozen=True, kw_only=True)
class Groups:
    """N candidates in two groups; differences are always first - second."""

    name: str
    """The column or task that says it."""
    labels: tuple[str, str]
    """The groups' names, for tables, plots and words."""
    member_N: np.ndarray
    """int8: 0 first, 1 second, -1 in neither."""
    labels_only: bool = False
    """The groups are known to differ in nothing but labels."""

    def split(self, values_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values of the first and of the second group."""
        return values_N[self.member_N == 0], values_N[self.member_N == 1]

    @property
    def sizes(self) -> tuple[int, int]:
        return int((self.member_N == 0).sum()), int((self.member_N == 1).sum())

    @property
    def left_out(self) -> int:
        """Candidates in neither group."""
        return int((self.member_N < 0).sum())


def assign(predictions: Predictions, cfg: GroupsConfig) -> Groups | None:
    """The groups of these candidates; None where none are configured, or where they go by a label and the data has no labels.

    Raises ConfigError for an unknown column or task, DataError where two values can't be told: one value only, or more than two
    and no choice.
    """
    if cfg.by == "none" or (cfg.by == "label" and predictions.labels_NT is None):
        return None
    name = cfg.name or ""
    column_N = _column(predictions, cfg.by, name)
    present = _present(column_N)
    if cfg.values is None:
        if len(present) != 2:
            raise DataError(
                f"scoring.groups.name='{name}': the candidates have {_listed(present)}; two groups need exactly two values, "
                "or a choice: scoring.groups.values=[first, second]"
            )
        values = tuple(present)
    else:
        values = tuple(cfg.values)
        for value in values:
            if present and not any(bool(value == p) for p in present):
                hint = nearest(str(value), map(str, present))
                raise DataError(f"scoring.groups.values: no candidate has {name}={value!r}{hint}; the candidates have {_listed(present)}")
    member_N = np.full(len(column_N), -1, dtype=np.int8)
    for k, value in enumerate(values):
        member_N[column_N == value] = k
    first, second = (v if isinstance(v, str) and cfg.by == "extra" else f"{name} = {v}" for v in values)
    return Groups(name=name, labels=(first, second), member_N=member_N, labels_only=cfg.labels_only)


def _column(predictions: Predictions, by: str, name: str) -> np.ndarray:
    if by == "label":
        if name not in predictions.tasks:
            raise ConfigError(
                f"scoring.groups.name='{name}': no such task{nearest(name, predictions.tasks)}; tasks are {', '.join(predictions.tasks)}"
            )
        assert predictions.labels_NT is not None
        label_N = predictions.labels_NT[:, predictions.tasks.index(name)]
        return label_N.astype(np.int64) if np.isfinite(label_N).all() else label_N
    if name not in predictions.extras:
        known = ", ".join(predictions.extras) or "none"
        raise ConfigError(
            f"scoring.groups.name='{name}': the data carries no such column{nearest(name, predictions.extras)}; data.extras are {known}"
        )
    return predictions.extras[name]


def _present(column_N: np.ndarray) -> list[Any]:
    """Distinct values, nulls apart, in the order of first and second: the larger number first, text alphabetically."""
    if column_N.dtype.kind in "OUS":
        return sorted({v for v in column_N.tolist() if v is not None and v == v}, key=str)
    values = np.unique(column_N[column_N == column_N])
    return values[::-1].tolist()


def _listed(values: list[Any], most: int = 8) -> str:
    if not values:
        return "no value at all"
    shown = ", ".join(repr(v) for v in values[:most])
    return f"{len(values)} value{'s' if len(values) > 1 else ''} ({shown}{', ...' if len(values) > most else ''})"
