"""What was known of an entity (viewer, item) strictly before a time: counts, smoothed rates, ages, gaps, latest values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recap_exp.data.events.log import HOUR


class History:
    """Events grouped by entity, in time order within each; answers for N queries (entity, time), only with what was before."""

    def __init__(
        self, entity_M: np.ndarray, time_M: np.ndarray, entity_N: np.ndarray, time_N: np.ndarray, recent_hours: Sequence[float] = ()
    ) -> None:
        self.order = np.argsort(entity_M, kind="stable")
        self.time = time_M[self.order]
        bounds = np.searchsorted(entity_M[self.order], np.arange(int(entity_M.max()) + 2))
        self.start, self.end = bounds[entity_N], bounds[entity_N + 1]
        self.at = time_N
        self.now = self.position(time_N)
        """[N] position of the entity's first event that is not before the query; start ... now is its past."""
        self.since = [self.start, *(self.position(time_N - round(h * HOUR)) for h in recent_hours)]

    def position(self, time_N: np.ndarray) -> np.ndarray:
        """[N] position of the entity's first event at or after a time: a binary search in every group at once."""
        low, high = self.start.copy(), self.end.copy()
        while (open_ := low < high).any():
            middle = (low + high) // 2
            before = open_ & (self.time[np.minimum(middle, len(self.time) - 1)] < time_N)
            low = np.where(before, middle + 1, low)
            high = np.where(open_ & ~before, middle, high)
        return low

    def counts(self, flag_M: np.ndarray) -> list[np.ndarray]:
        """[N] flagged events in the whole past, then in [t - h, t) for each of the recent hours."""
        total = np.concatenate([[0], np.cumsum(flag_M[self.order])])
        return [total[self.now] - total[s] for s in self.since]

    def known(self) -> np.ndarray:
        """[N] bool: the entity has a past."""
        return self.now > self.start

    def age_hours(self) -> np.ndarray:
        """[N] hours since the entity's first event; 0 without a past."""
        return np.where(self.known(), (self.at - self.time[self.start]) / HOUR, 0.0)

    def gap_hours(self) -> np.ndarray:
        """[N] hours since the entity's latest event; -1 without a past."""
        return np.where(self.known(), (self.at - self.time[self.now - 1]) / HOUR, -1.0)

    def latest(self, code_M: np.ndarray) -> np.ndarray:
        """[N] the latest code >= 0 in the entity's past; -1 where there is none."""
        code = code_M[self.order]
        last = np.maximum.accumulate(np.where(code >= 0, np.arange(len(code)), -1))[self.now - 1]
        return np.where(self.known() & (last >= self.start), code[last], -1)


def smoothed(part: np.ndarray, whole: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """(part + strength prior) / (whole + strength)."""
    return (part + strength * prior) / (whole + strength)
